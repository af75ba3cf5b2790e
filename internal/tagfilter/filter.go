package tagfilter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Filter chooses tags. It is made by Compile and never changes, so that it may be shared; the zero Filter chooses nothing.
type Filter struct {
	named   []string // the literals of include but for the excluded ones; sorted, unique
	include patterns
	exclude set
	narrow  narrowing
	text    string
	spec    string // its identity
}

// narrowing is what candidates must obey.
type narrowing struct {
	suffix   string
	versions *semver.Constraints // nil for any version
	newest   int                 // 0 for all
}

// Select returns the chosen ones among the tags, in byte order and each once; nil for none. The order of the tags, what is
// there twice and what is no valid tag change nothing. The tags are only read.
func (f Filter) Select(tags []string) []string {
	var chosen []string
	var candidates []candidate
	for _, tag := range tags {
		if !isTag(tag) {
			continue
		}
		if f.Names(tag) {
			chosen = append(chosen, tag)
		}
		if c, ok := f.candidate(tag); ok {
			candidates = append(candidates, c)
		}
	}
	for _, c := range f.narrow.cut(candidates) {
		chosen = append(chosen, c.tag)
	}
	slices.Sort(chosen)
	return slices.Compact(chosen)
}

// CanChoose tells whether Select can choose a tag, whatever else there is: of a long list the others need not be kept. Select returns the
// same of all tags and of those that it can choose.
func (f Filter) CanChoose(tag string) bool {
	if !isTag(tag) {
		return false
	}
	_, ok := f.candidate(tag)
	return ok || f.Names(tag)
}

// Names tells whether include has a tag by its name, and exclude leaves it.
func (f Filter) Names(tag string) bool {
	_, named := slices.BinarySearch(f.named, tag)
	return named
}

// candidate tells whether patterns choose a valid tag, unless newest cuts it off.
func (f Filter) candidate(tag string) (candidate, bool) {
	stem, ok := strings.CutSuffix(tag, f.narrow.suffix)
	if !ok || !f.include.match(tag) || f.exclude.matches(tag) {
		return candidate{}, false
	}
	c := candidate{tag: tag}
	if f.narrow.versions == nil && f.narrow.newest == 0 {
		return c, true
	}
	if c.version = parseVersion(stem); c.version == nil {
		return candidate{}, false
	}
	if f.narrow.versions != nil {
		return c, f.narrow.versions.Check(c.version)
	}
	return c, c.version.Prerelease() == ""
}

// cut keeps the newest. It may reorder the candidates.
func (n narrowing) cut(candidates []candidate) []candidate {
	if n.newest == 0 {
		return candidates
	}
	slices.SortFunc(candidates, byVersion)
	candidates = slices.CompactFunc(candidates, func(a, b candidate) bool { return a.tag == b.tag })
	return candidates[:min(n.newest, len(candidates))]
}

// Literals returns the exact tags that are wanted, sorted, and true where no list of tags is needed to know them. They may
// be none, where exclude takes all. Whether they exist is for the caller to find out.
func (f Filter) Literals() ([]string, bool) {
	if !f.include.none() {
		return nil, false
	}
	return slices.Clone(f.named), true
}

// Identity returns the identity of the spec that the filter was made of; it is empty for the zero Filter.
func (f Filter) Identity() string { return f.spec }

// String returns a short form for people, as in "include 3.*, latest; exclude *_rc*; semver >= 3.19; newest 5". A long list
// is cut short, so it does not identify a filter.
func (f Filter) String() string {
	if f.text == "" {
		return "nothing"
	}
	return f.text
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
