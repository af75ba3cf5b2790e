package tagfilter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Filter chooses tags: what any of its sets chooses. It is made by Compile and Union and never changes, so that it may be shared; the zero
// Filter chooses nothing.
type Filter struct {
	sets []chooser
}

// chooser is one set of a filter.
type chooser struct {
	named   []string // the literals of include but for the excluded ones; sorted, unique
	include patterns
	exclude set
	narrow  narrowing
	min     int // how many tags there have to be
	text    string
	spec    string   // its identity
	pieces  []string // what include writes literally within patterns, for the search of what looks like it
}

// narrowing is what candidates must obey.
type narrowing struct {
	suffix   string
	versions *semver.Constraints // nil for any version
	newest   int                 // 0 for all
	scheme   scheme
}

// Union returns a filter that chooses what any of the filters does.
func Union(filters ...Filter) Filter {
	var f Filter
	for _, other := range filters {
		f.sets = append(f.sets, other.sets...)
	}
	return f
}

// Choice is what a filter chooses of a list.
type Choice struct {
	// Tags are the chosen ones, in byte order and each once; nil for none.
	Tags []string
	// Absent are the literals that the list lacks, in byte order.
	Absent []string
	// Short are the sets that choose less than there has to be.
	Short []Short
}

// Short is a set of a filter that chooses less than there has to be.
type Short struct {
	Set         string // as [Filter.String] writes it
	Chosen, Min int
}

// Select returns the chosen ones among the tags, in byte order and each once; nil for none. The order of the tags, what is
// there twice and what is no valid tag change nothing. The tags are only read.
func (f Filter) Select(tags []string) []string { return f.Choose(tags).Tags }

// Choose is Select, and tells what is missing.
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

// lack adds what is missing if the set chooses so many tags, and so many of these by patterns; named are the literals that there are, sorted.
func (s *chooser) lack(c *Choice, all, byPattern int, named []string) {
	for _, tag := range s.named {
		if _, there := slices.BinarySearch(named, tag); !there {
			c.Absent = append(c.Absent, tag)
		}
	}
	// A literal that is absent is told by its name. Patterns have to choose something, also beside literals.
	short := all+len(s.named)-len(named) < s.min
	if idle := !s.include.none() && byPattern == 0 && s.min > 0; short || idle {
		if idle {
			all = 0
		}
		c.Short = append(c.Short, Short{Set: s.text, Chosen: all, Min: s.min})
	}
}

// AllowsNone tells whether none of the sets has to choose anything.
func (f Filter) AllowsNone() bool {
	return !slices.ContainsFunc(f.sets, func(s chooser) bool { return s.min > 0 })
}

// CanChoose tells whether Select can choose a tag, whatever else there is: of a long list the others need not be kept. Select returns the
// same of all tags and of those that it can choose.
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

// Names tells whether include has a tag by its name, and exclude leaves it.
func (f Filter) Names(tag string) bool {
	return slices.ContainsFunc(f.sets, func(s chooser) bool { return s.names(tag) })
}

func (s *chooser) names(tag string) bool {
	_, named := slices.BinarySearch(s.named, tag)
	return named
}

// candidate tells whether patterns choose a valid tag, unless newest cuts it off.
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

// cut keeps the newest. It may reorder the candidates.
func (n narrowing) cut(candidates []candidate) []candidate {
	if n.newest == 0 {
		return candidates
	}
	slices.SortFunc(candidates, n.scheme.compare)
	candidates = slices.CompactFunc(candidates, func(a, b candidate) bool { return a.tag == b.tag })
	return candidates[:min(n.newest, len(candidates))]
}

// Ranks reports whether one tag is chosen or not depending on which others there are.
func (f Filter) Ranks() bool {
	return slices.ContainsFunc(f.sets, func(c chooser) bool { return c.narrow.newest > 0 })
}

// Literals returns the exact tags that are wanted, sorted, and true where no list of tags is needed to know them. They may
// be none, where exclude takes all. Whether they exist is for the caller to find out.
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

// Identity returns the identity of the specs that the filter was made of; it is empty for the zero Filter.
func (f Filter) Identity() string {
	switch len(f.sets) {
	case 0:
		return ""
	case 1:
		return f.sets[0].spec
	}
	return "[" + f.each(",", func(s chooser) string { return s.spec }) + "]"
}

// String returns a short form for people, as in "include 3.*, latest; exclude *_rc*; semver >= 3.19; newest 5". A long list
// is cut short, so it does not identify a filter.
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
