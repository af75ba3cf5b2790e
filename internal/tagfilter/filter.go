package tagfilter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Filter chooses the tags that any of its sets chooses. Compile and Union make filters, which never change and may be shared. The zero
// Filter chooses nothing.
type Filter struct {
	sets []chooser
}

// chooser is one set of a filter.
type chooser struct {
	named   []string // the literals of include except the excluded ones; sorted, unique
	include patterns
	exclude set
	narrow  narrowing
	min     int // minimum number of tags
	text    string
	spec    string   // its identity
	pieces  []string // literal parts of include's patterns, to find similar tags
}

// narrowing has the conditions that candidates must meet.
type narrowing struct {
	suffix   string
	versions *semver.Constraints // nil for any version
	newest   int                 // 0 for all
	scheme   scheme
}

// Union returns a filter that chooses the tags that any of the filters chooses.
func Union(filters ...Filter) Filter {
	var f Filter
	for _, other := range filters {
		f.sets = append(f.sets, other.sets...)
	}
	return f
}

// Choice is the result of applying a filter to a list.
type Choice struct {
	// Tags are the chosen tags, in byte order and without duplicates; nil for none.
	Tags []string
	// Absent are the literals that the list lacks, in byte order.
	Absent []string
	// Short are the sets that choose too few tags.
	Short []Short
}

// Short is a set of a filter that chooses too few tags.
type Short struct {
	Set         string // as [Filter.String] writes it
	Chosen, Min int
}

// Select returns the chosen tags, in byte order and without duplicates; nil for none. The order of the tags, duplicates and invalid tags do
// not affect the result. Select does not modify tags.
func (f Filter) Select(tags []string) []string { return f.Choose(tags).Tags }

// Choose is like Select, and also reports what is missing.
func (f Filter) Choose(tags []string) Choice {
	var c Choice
	for i := range f.sets {
		f.sets[i].choose(tags, &c)
	}
	c.Tags, c.Absent = unique(c.Tags), unique(c.Absent)
	return c
}

func unique(tags []string) []string {
	slices.Sort(tags)
	return slices.Compact(tags)
}

func (s *chooser) choose(tags []string, c *Choice) {
	var named []string
	var candidates []candidate
	for _, tag := range tags {
		if !isTag(tag) {
			continue
		}
		if s.names(tag) {
			named = append(named, tag)
		}
		if c, ok := s.candidate(tag); ok {
			candidates = append(candidates, c)
		}
	}
	chosen := s.narrow.cut(candidates)
	all := slices.Clone(named)
	for _, one := range chosen {
		all = append(all, one.tag)
	}
	all, named = unique(all), unique(named)
	c.Tags = append(c.Tags, all...)
	s.lack(c, len(all), len(chosen), named)
}

// lack adds what is missing, given how many tags the set chooses in total and how many by patterns; named are the existing literals, sorted.
func (s *chooser) lack(c *Choice, all, byPattern int, named []string) {
	for _, tag := range s.named {
		if _, there := slices.BinarySearch(named, tag); !there {
			c.Absent = append(c.Absent, tag)
		}
	}
	// A missing literal is reported by its name. Patterns must choose something, even if there are literals.
	short := all+len(s.named)-len(named) < s.min
	if idle := !s.include.none() && byPattern == 0 && s.min > 0; short || idle {
		if idle {
			all = 0
		}
		c.Short = append(c.Short, Short{Set: s.text, Chosen: all, Min: s.min})
	}
}

// AllowsNone reports whether every set may choose nothing.
func (f Filter) AllowsNone() bool {
	return !slices.ContainsFunc(f.sets, func(s chooser) bool { return s.min > 0 })
}

// CanChoose reports whether Select would choose a tag from at least some list. A caller with a long list may drop the other tags: Select
// returns the same with and without them.
func (f Filter) CanChoose(tag string) bool {
	if !isTag(tag) {
		return false
	}
	for i := range f.sets {
		if _, ok := f.sets[i].candidate(tag); ok || f.sets[i].names(tag) {
			return true
		}
	}
	return false
}

// Names reports whether include has a tag as a literal and exclude does not match it.
func (f Filter) Names(tag string) bool {
	return slices.ContainsFunc(f.sets, func(s chooser) bool { return s.names(tag) })
}

func (s *chooser) names(tag string) bool {
	_, named := slices.BinarySearch(s.named, tag)
	return named
}

// candidate reports whether patterns choose a valid tag, before newest is applied.
func (s *chooser) candidate(tag string) (candidate, bool) {
	stem, ok := strings.CutSuffix(tag, s.narrow.suffix)
	if !ok || !s.include.match(tag) || s.exclude.matches(tag) {
		return candidate{}, false
	}
	c := candidate{tag: tag}
	if s.narrow.versions != nil || s.narrow.newest != 0 && s.narrow.scheme == bySemver {
		v, ok := parseVersion(stem)
		if !ok || s.narrow.versions != nil && !s.narrow.versions.Check(v.Version) || s.narrow.versions == nil && v.Prerelease() != "" {
			return candidate{}, false
		}
		c.version = v
	}
	if s.narrow.scheme != bySemver {
		if c.key = s.narrow.scheme.key(stem); c.key == "" {
			return candidate{}, false
		}
	}
	return c, true
}

// cut keeps the newest candidates. It may reorder them.
func (n narrowing) cut(candidates []candidate) []candidate {
	if n.newest == 0 {
		return candidates
	}
	slices.SortFunc(candidates, n.scheme.compare)
	candidates = slices.CompactFunc(candidates, func(a, b candidate) bool { return a.tag == b.tag })
	return candidates[:min(n.newest, len(candidates))]
}

// Ranks reports whether the choice of a tag depends on which other tags exist.
func (f Filter) Ranks() bool {
	return slices.ContainsFunc(f.sets, func(c chooser) bool { return c.narrow.newest > 0 })
}

// Literals returns the chosen tags, sorted, and true if the filter has only literals, so that no list of tags is needed. There may be none,
// if exclude removes all. The caller has to check that they exist.
func (f Filter) Literals() ([]string, bool) {
	var all []string
	for i := range f.sets {
		if !f.sets[i].include.none() {
			return nil, false
		}
		all = append(all, f.sets[i].named...)
	}
	return unique(all), true
}

// Identity returns the identity of the filter's specs; it is empty for the zero Filter.
func (f Filter) Identity() string {
	switch len(f.sets) {
	case 0:
		return ""
	case 1:
		return f.sets[0].spec
	}
	return "[" + f.each(",", func(s chooser) string { return s.spec }) + "]"
}

// String returns a short form for display, as in "include 3.*, latest; exclude *_rc*; semver >= 3.19; newest 5". It shortens long lists, so
// it does not identify a filter.
func (f Filter) String() string {
	if len(f.sets) == 0 {
		return "nothing"
	}
	return f.each(" | ", func(s chooser) string { return s.text })
}

func (f Filter) each(sep string, text func(chooser) string) string {
	var all []string
	for _, s := range f.sets {
		all = append(all, text(s))
	}
	return strings.Join(all, sep)
}

func describe(spec Spec) string {
	parts := []string{"include " + shorten(withDefault(spec))}
	if len(spec.Exclude) > 0 {
		parts = append(parts, "exclude "+shorten(spec.Exclude))
	}
	if spec.Suffix != "" {
		parts = append(parts, "suffix "+spec.Suffix)
	}
	if spec.Semver != "" {
		parts = append(parts, "semver "+spec.Semver)
	}
	if spec.Newest != 0 {
		parts = append(parts, fmt.Sprintf("newest %d", spec.Newest))
	}
	if spec.Sort != "" {
		parts = append(parts, "sort "+spec.Sort)
	}
	if spec.Min != nil {
		parts = append(parts, fmt.Sprintf("min %d", *spec.Min))
	}
	return strings.Join(parts, "; ")
}

// shorten joins the first entries of a list and counts the others.
func shorten(entries []string) string {
	const most = 4
	if len(entries) <= most {
		return strings.Join(entries, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(entries[:most], ", "), len(entries)-most)
}
