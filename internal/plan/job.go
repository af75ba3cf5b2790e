// Package plan compiles a config into jobs. It is pure: no I/O, no clock, no logger.
package plan

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/schedule"
	"github.com/draysync/dray/internal/tagfilter"
)

// Job is a mapping made ready to run. It is read-only.
type Job struct {
	// Name is the mapping's, unique in a config.
	Name string
	// Source is a repository whose tags are chosen by Tags; one image where it has a tag or a digest; or, where
	// Repositories is set, the prefix below which they lie.
	Source image.Reference
	// Targets correspond to Source: repositories, images with a tag, or prefixes.
	Targets []image.Reference
	// Repositories are paths below Source; an entry with glob characters is matched against the registry's catalog.
	Repositories []string
	Tags         tagfilter.Filter
	// Platforms are those to keep of an index; empty for all.
	Platforms []image.Platform
	// RefuseMoved declines to move a tag that the target has and that points elsewhere at the source.
	RefuseMoved bool
	// Immutable matches the tags that never move: one that a target has is not looked at.
	Immutable tagfilter.Filter
	Referrers Referrers
	// ReferrersInterval is how often an unchanged image is looked at for new referrers.
	ReferrersInterval time.Duration
	// ForeignLayers brings layers that a manifest names by URLs as well.
	ForeignLayers bool
	// Engine is "auto", "copy" or "acr".
	Engine string
	// ResolveServer leaves it to the target's registry to ask the source, which cannot be reached from here.
	ResolveServer bool
	// Timeout bounds one try of one import.
	Timeout time.Duration
	// Retries is how often an import is tried again after a failure that may pass.
	Retries int
	// Schedule is zero for a job that runs only when it is new, or changes, or is asked for.
	Schedule schedule.Schedule
	// Jitter is how much later than its schedule, or than when it is new, the job may run.
	Jitter time.Duration
	// Priority orders jobs that are due at one time, the highest first.
	Priority int
	// Fingerprint tells whether two jobs are the same in all fields above. It lasts across restarts. [Compile] sets it.
	Fingerprint string
}

// Referrers says which referrers are copied with an image; the zero value is none.
type Referrers struct {
	All bool
	// Types are the artifact types to take where All is false.
	Types []string
}

// Wants reports whether a referrer of this artifact type is copied.
func (r Referrers) Wants(artifactType string) bool {
	if r.All {
		return true
	}
	for _, t := range r.Types {
		if t == artifactType {
			return true
		}
	}
	return false
}

// None tells whether no referrer can be wanted, so that none need be looked for.
func (r Referrers) None() bool { return !r.All && len(r.Types) == 0 }

// Image tells whether the job is about one image, not about chosen tags of a repository.
func (j Job) Image() bool { return j.Source.Tag != "" || j.Source.Digest != "" }

// RefusesMove tells whether a tag that a target has is to stay where it is.
func (j Job) RefusesMove(tag string) bool { return j.RefuseMoved || j.Immutable.CanChoose(tag) }

// NeedsCatalog tells whether a repository of the job is named by a pattern.
func (j Job) NeedsCatalog() bool {
	for _, r := range j.Repositories {
		if isGlob(r) {
			return true
		}
	}
	return false
}

// Route is one source repository with the target repositories that it goes to.
type Route struct {
	Source  image.Repository
	Targets []image.Repository
}

// Routes returns the routes of the job, in the order of the config. The catalog holds the paths of all repositories at the
// source's registry; it may be nil where NeedsCatalog is false. Each repository occurs once, also when several patterns
// match it. It also returns the patterns that match nothing.
func (j Job) Routes(catalog []string) (routes []Route, unmatched []string) {
	if len(j.Repositories) == 0 {
		return []Route{j.route("")}, nil
	}
	taken := map[string]bool{}
	for _, pattern := range j.Repositories {
		names := []string{pattern}
		if isGlob(pattern) {
			names = j.match(pattern, catalog)
		}
		if len(names) == 0 {
			unmatched = append(unmatched, pattern)
		}
		for _, name := range names {
			if !taken[name] {
				taken[name] = true
				routes = append(routes, j.route(name))
			}
		}
	}
	return routes, unmatched
}

func (j Job) route(name string) Route {
	r := Route{Source: j.Source.Repository.Join(name)}
	for _, t := range j.Targets {
		r.Targets = append(r.Targets, t.Repository.Join(name))
	}
	return r
}

// RouteOf returns the route of a source repository, if it is one of the job's.
func (j Job) RouteOf(source image.Repository) (Route, bool) {
	if len(j.Repositories) == 0 {
		return j.route(""), source == j.Source.Repository
	}
	name, ok := j.below(source.Path)
	if !ok || source.Registry != j.Source.Registry || !slices.ContainsFunc(j.Repositories, func(pattern string) bool { return pattern == name || matches(pattern, name) }) {
		return Route{}, false
	}
	return j.route(name), true
}

// TargetsOf returns where a tag of the job's sources goes.
func (j Job) TargetsOf(tag image.Reference) []image.Reference {
	if j.Image() {
		return j.Targets
	}
	route, ok := j.RouteOf(tag.Repository)
	if !ok {
		return nil
	}
	targets := make([]image.Reference, 0, len(route.Targets))
	for _, target := range route.Targets {
		targets = append(targets, target.Tag(tag.Tag))
	}
	return targets
}

// MayWrite tells whether a tag is, or may be, one that the job writes.
func (j Job) MayWrite(target image.Reference) bool {
	if j.Image() {
		return slices.ContainsFunc(j.Targets, func(t image.Reference) bool { return t.Repository == target.Repository && t.Tag == target.Tag })
	}
	return j.Writes(target.Repository) && j.Tags.CanChoose(target.Tag)
}

// match returns the names below the source's path that the pattern matches; '*' does not cross a '/'.
func (j Job) match(pattern string, catalog []string) []string {
	var names []string
	for _, p := range catalog {
		if name, ok := j.below(p); ok && matches(pattern, name) {
			names = append(names, name)
		}
	}
	return names
}

// below returns the path of a repository below the source's.
func (j Job) below(repository string) (name string, ok bool) {
	name, ok = strings.CutPrefix(repository, j.Source.Path+"/")
	return name, ok && name != ""
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// CanRoute tells whether a pattern of the job matches a repository of the catalog: the others need not be kept for Routes.
func (j Job) CanRoute(repository string) bool {
	name, ok := j.below(repository)
	return ok && slices.ContainsFunc(j.Repositories, func(pattern string) bool { return isGlob(pattern) && matches(pattern, name) })
}

// Writes tells whether a repository is, or may be, a target of the job.
func (j Job) Writes(repo image.Repository) bool {
	return slices.ContainsFunc(j.Targets, func(target image.Reference) bool {
		if len(j.Repositories) == 0 {
			return target.Repository == repo
		}
		name, ok := strings.CutPrefix("/"+repo.Path, strings.TrimSuffix("/"+target.Path, "/")+"/")
		return ok && target.Registry == repo.Registry && slices.ContainsFunc(j.Repositories, func(pattern string) bool { return pattern == name || matches(pattern, name) })
	})
}

func isGlob(s string) bool {
	for _, c := range s {
		switch c {
		case '*', '?', '[':
			return true
		}
	}
	return false
}
