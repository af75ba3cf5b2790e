// Package nodeconfig writes the files that make the nodes of a cluster pull from the targets of mappings. It is pure.
package nodeconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// File is what a node or a cluster reads.
type File struct {
	// Path is where the program looks for it, or a name for what is applied to a cluster.
	Path    string
	Content string
}

// Note is about what a format cannot say of a mapping.
type Note struct{ Mapping, Text string }

// rule says that a source repository, and what is below it, is at other places.
type rule struct {
	mapping string
	from    image.Repository
	to      image.Repository
	// below is set for the prefix of several repositories.
	below bool
	// retag is what the tags are called there; ok is false if they are other ones altogether.
	retag plan.Retag
	ok    bool
	// filtered is set if the digests of indexes are others there.
	filtered bool
}

// rulesOf returns the rules of jobs, in their order, each once, and notes about what is nowhere a node can pull from.
func rulesOf(jobs []plan.Job) (rules []rule, notes []Note) {
	for _, job := range jobs {
		reached := false
		for _, r := range places(job) {
			r.mapping, r.filtered = job.Name, len(job.Platforms) > 0
			if r.from.IsLayout() || r.to.IsLayout() {
				continue
			}
			reached = true
			if !slices.Contains(rules, r) {
				rules = append(rules, r)
			}
		}
		switch {
		case !reached:
			notes = append(notes, Note{job.Name, "goes from or into a layout only, which no node pulls from"})
		case len(job.Platforms) > 0:
			notes = append(notes, Note{job.Name, "keeps only some platforms, so the digests of its indexes are others at the target: only pulls by tag come from there"})
		}
	}
	return rules, notes
}

// places returns where a job puts what it imports.
func places(job plan.Job) (all []rule) {
	one := func(source image.Reference, targets []image.Reference) {
		for _, t := range targets {
			all = append(all, rule{from: source.Repository, to: t.Repository, ok: sameTag(source, t)})
		}
	}
	switch {
	case job.Image():
		one(job.Source, job.Targets)
	case job.Images != nil:
		for _, i := range job.Images {
			one(i.Source, i.Targets)
		}
	case job.NeedsCatalog():
		for _, t := range job.Targets {
			all = append(all, rule{from: job.Source.Repository, to: t.Repository, below: true, retag: job.Retag, ok: true})
		}
	default:
		routes, _ := job.Routes(nil)
		for _, route := range routes {
			for _, t := range route.Targets {
				all = append(all, rule{from: route.Source, to: t, retag: job.Retag, ok: true})
			}
		}
	}
	return all
}

// sameTag reports whether a node finds an image at its target by the name that it has at the source. One without a tag is found by its digest.
func sameTag(source, target image.Reference) bool {
	return source.Tag == "" || source.Tag == target.Tag
}

// hasTags reports whether a node finds tags under their own names.
func (r rule) hasTags() bool { return r.ok && r.retag == plan.Retag{} }

// only says what a format without other names for tags lacks.
func (r rule) only() []Note {
	if r.hasTags() {
		return nil
	}
	return []Note{{r.mapping, fmt.Sprintf("has other tags at %s than at %s: only pulls by digest come from there", r.to, r.from)}}
}

// rest returns a path below a prefix, which may be empty for all paths; ok is false if it is not there.
func rest(name, prefix string) (rest string, ok bool) {
	switch {
	case name == prefix:
		return "", true
	case prefix == "":
		return name, true
	}
	return strings.CutPrefix(name, prefix+"/")
}

// join puts a path below a prefix.
func join(prefix, name string) string { return strings.Trim(prefix+"/"+name, "/") }

// mixed returns a rule that puts something else below to than what nodes look for there, if they look for what is below from; nil for none. Paths may be
// empty, for a whole registry.
func mixed(rules []rule, from, to image.Repository) *rule {
	for i, r := range rules {
		if r.to.Registry != to.Registry {
			continue
		}
		if name, ok := rest(r.to.Path, to.Path); ok {
			if r.from.Registry != from.Registry || r.from.Path != join(from.Path, name) {
				return &rules[i]
			}
			continue
		}
		if name, ok := rest(to.Path, r.to.Path); ok && r.below && (r.from.Registry != from.Registry || join(r.from.Path, name) != from.Path) {
			return &rules[i]
		}
	}
	return nil
}

func mixedNote(r rule, from, to image.Repository, other *rule) Note {
	return Note{r.mapping, fmt.Sprintf("cannot be said: for %s, nodes would look below %s, where the mapping %q puts %s", named(from), named(to), other.mapping, other.from)}
}

// named returns a repository's name, or that of a registry.
func named(r image.Repository) string { return strings.TrimSuffix(r.Registry+"/"+r.Path, "/") }

// registries returns the source registries of rules, sorted.
func registries(rules []rule) (names []string) {
	for _, r := range rules {
		names = append(names, r.from.Registry)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// sorted orders rules such that the longest source path comes first, which programs without an order of their own prefer.
func sorted(rules []rule) []rule {
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b rule) int {
		return cmp.Or(cmp.Compare(a.from.Registry, b.from.Registry), cmp.Compare(len(b.from.Path), len(a.from.Path)), cmp.Compare(a.from.Path, b.from.Path))
	})
	return rules
}
