// Package plan compiles a config into jobs. It is pure: no I/O, no clock, no logger.
package plan

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/schedule"
	"github.com/draysync/dray/internal/tagfilter"
)

// Job is a compiled mapping. It is read-only.
type Job struct {
	// Name is the mapping's, unique in a config.
	Name string
	// Source is a repository whose tags are chosen by Tags; one image if it has a tag or a digest; or, if Repositories is set, their common prefix.
	// It is zero for a job with Images.
	Source image.Reference
	// Targets correspond to Source: repositories, images with a tag, or prefixes. With Images they are the prefixes of those's targets.
	Targets []image.Reference
	// Images are the images of a job that names each; nil for a job with a source.
	Images []Image
	// Repositories are paths below Source; an entry with glob characters matches repositories of the registry's catalog, and one that begins with
	// '!' leaves out what it matches.
	Repositories []string
	Tags         tagfilter.Filter
	// Retag is what the tags are called at the targets. Where Source is one image, Targets have their tags already.
	Retag Retag
	// Platforms are the platforms of an index to keep; empty for all.
	Platforms []image.Platform
	// RefuseMoved refuses to move a tag that exists at the target and has another digest at the source.
	RefuseMoved bool
	// Immutable matches the tags that never move: dray does not check those that the target has.
	Immutable tagfilter.Filter
	Referrers Referrers
	// ReferrersInterval is how often to check an unchanged image for new referrers.
	ReferrersInterval time.Duration
	// ForeignLayers also imports layers that a manifest refers to by URL.
	ForeignLayers bool
	// Engine is "auto", "copy" or "acr".
	Engine string
	// ResolveServer has the target's registry resolve the tags, since dray cannot reach the source.
	ResolveServer bool
	// Timeout limits one attempt of one import.
	Timeout time.Duration
	// Retries is how often to retry an import after a temporary failure.
	Retries int
	// Schedule is zero for a job that runs only when it is new, when it changes, or on request.
	Schedule schedule.Schedule
	// Jitter is the maximum delay of a run after the scheduled time.
	Jitter time.Duration
	// Windows are when runs may begin; CutAtEnd ends those that are under way when a window ends.
	Windows  schedule.Windows
	CutAtEnd bool
	// Policies are those that may hold for its sources; see [Job.PolicyOf].
	Policies []*Policy
	// Priority orders jobs that are due at the same time, the highest first.
	Priority int
	// Fingerprint is equal for two jobs if all fields above are equal. It is stable across restarts. [Compile] sets it.
	Fingerprint string
}

// Image is an image that a job names, with its targets.
type Image struct {
	Source  image.Reference
	Targets []image.Reference
}

// Sources returns the references from which the job imports: repositories, images, or the prefix of several.
func (j Job) Sources() []image.Reference {
	if j.Images == nil {
		return []image.Reference{j.Source}
	}
	sources := make([]image.Reference, 0, len(j.Images))
	for _, i := range j.Images {
		sources = append(sources, i.Source)
	}
	return sources
}

// SourceText returns what the job imports from, in a word or two.
func (j Job) SourceText() string {
	switch n := len(j.Images); n {
	case 0:
		return j.Source.String()
	case 1:
		return j.Images[0].Source.String()
	default:
		return strconv.Itoa(n) + " images"
	}
}

// Referrers says which referrers are copied with an image; the zero value is none.
type Referrers struct {
	All bool
	// Types are the artifact types to copy if All is false.
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

// None reports whether no referrers are wanted, so that dray need not look for any.
func (r Referrers) None() bool { return !r.All && len(r.Types) == 0 }

// Image reports whether the job's source is one image instead of chosen tags of a repository.
func (j Job) Image() bool { return j.Source.Tag != "" || j.Source.Digest != "" }

// RefusesMove reports whether the job must not move an existing tag of a target.
func (j Job) RefusesMove(tag string) bool { return j.RefuseMoved || j.NeverMoves(tag) }

// NeedsCatalog reports whether the job names a repository by a pattern.
func (j Job) NeedsCatalog() bool {
	return slices.ContainsFunc(j.Repositories, func(r string) bool { return isGlob(r) && !strings.HasPrefix(r, without) })
}

// without begins an entry of Repositories that leaves out what it matches.
const without = "!"

// chooses reports whether a path below the source is one of the job's.
func (j Job) chooses(name string) bool {
	return slices.ContainsFunc(j.Repositories, func(pattern string) bool { return matches(pattern, name) }) && !j.leavesOut(name)
}

func (j Job) leavesOut(name string) bool {
	return slices.ContainsFunc(j.Repositories, func(pattern string) bool {
		pattern, ok := strings.CutPrefix(pattern, without)
		return ok && matches(pattern, name)
	})
}

// Route is a source repository with its target repositories.
type Route struct {
	Source  image.Repository
	Targets []image.Repository
	Retag   Retag
}

// Routes returns the routes of the job, in the order of the config. The catalog holds the paths of all repositories at the source's
// registry; it may be nil if NeedsCatalog is false. Each repository occurs once, even if several patterns match it. Routes also returns the
// patterns that match nothing.
func (j Job) Routes(catalog []string) (routes []Route, unmatched []string) {
	if len(j.Repositories) == 0 {
		return []Route{j.route("")}, nil
	}
	taken := map[string]bool{}
	for _, pattern := range j.Repositories {
		if strings.HasPrefix(pattern, without) {
			continue
		}
		names := []string{pattern}
		if isGlob(pattern) {
			names = j.match(pattern, catalog)
		}
		if len(names) == 0 {
			unmatched = append(unmatched, pattern)
		}
		for _, name := range names {
			if !taken[name] && !j.leavesOut(name) {
				taken[name] = true
				routes = append(routes, j.route(name))
			}
		}
	}
	return routes, unmatched
}

func (j Job) route(name string) Route {
	r := Route{Source: j.Source.Repository.Join(name), Retag: j.Retag}
	for _, t := range j.Targets {
		r.Targets = append(r.Targets, t.Repository.Join(name))
	}
	return r
}

// RouteOf returns the route of a source repository, if it is one of the job's. A job with Images has none.
func (j Job) RouteOf(source image.Repository) (Route, bool) {
	if j.Images != nil {
		return Route{}, false
	}
	if len(j.Repositories) == 0 {
		return j.route(""), source == j.Source.Repository
	}
	name, ok := j.below(source.Path)
	if !ok || source.Registry != j.Source.Registry || !j.chooses(name) {
		return Route{}, false
	}
	return j.route(name), true
}

// TargetsOf returns the targets of a tag of the job's sources.
func (j Job) TargetsOf(tag image.Reference) []image.Reference {
	if j.Image() {
		return j.Targets
	}
	if i := slices.IndexFunc(j.Images, func(i Image) bool { return i.Source == tag }); i >= 0 {
		return j.Images[i].Targets
	}
	route, ok := j.RouteOf(tag.Repository)
	if !ok {
		return nil
	}
	targets := make([]image.Reference, 0, len(route.Targets))
	for _, target := range route.Targets {
		targets = append(targets, target.Tag(route.Retag.Of(tag.Tag)))
	}
	return targets
}

// MayWrite reports whether the job may write a tag.
func (j Job) MayWrite(target image.Reference) bool {
	is := func(t image.Reference) bool { return t.Repository == target.Repository && t.Tag == target.Tag }
	switch {
	case j.Image():
		return slices.ContainsFunc(j.Targets, is)
	case j.Images != nil:
		return slices.ContainsFunc(j.Images, func(i Image) bool { return slices.ContainsFunc(i.Targets, is) })
	}
	return j.Writes(target.Repository) && j.MayTag(target.Tag)
}

// match returns the names below the source's path that the pattern matches.
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

// matches reports whether a pattern matches a path: '*' does not cross a '/', and "**" stands for any number of parts, as the last one for at
// least one.
func matches(pattern, name string) bool {
	if !strings.Contains(pattern, "**") {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	}
	return matchesParts(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func matchesParts(pattern, name []string) bool {
	for ; len(pattern) > 0; pattern, name = pattern[1:], name[1:] {
		if pattern[0] == "**" {
			if len(pattern) == 1 {
				return len(name) > 0
			}
			for i := range len(name) + 1 {
				if matchesParts(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], name[0]); !ok || err != nil {
			return false
		}
	}
	return len(name) == 0
}

// CanRoute reports whether a pattern of the job matches a repository of the catalog: a caller may drop the others before Routes.
func (j Job) CanRoute(repository string) bool {
	name, ok := j.below(repository)
	return ok && slices.ContainsFunc(j.Repositories, func(pattern string) bool { return isGlob(pattern) && matches(pattern, name) }) && !j.leavesOut(name)
}

// Writes reports whether a repository is, or may be, a target of the job.
func (j Job) Writes(repo image.Repository) bool {
	if j.Images != nil {
		return slices.ContainsFunc(j.Images, func(i Image) bool {
			return slices.ContainsFunc(i.Targets, func(t image.Reference) bool { return t.Repository == repo })
		})
	}
	return slices.ContainsFunc(j.Targets, func(target image.Reference) bool {
		if len(j.Repositories) == 0 {
			return target.Repository == repo
		}
		name, ok := strings.CutPrefix("/"+repo.Path, strings.TrimSuffix("/"+target.Path, "/")+"/")
		return ok && target.Registry == repo.Registry && j.chooses(name)
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
