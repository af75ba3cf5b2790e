package tagfilter

import (
	"cmp"
	"slices"
	"strings"
)

// maxNearest is how many tags a message suggests if a filter chooses nothing.
const maxNearest = 3

// Nearest collects, for a message, a few tags that a filter does not choose but that resemble its patterns most.
type Nearest struct {
	filter Filter
	kept   []near
}

type near struct {
	tag     string
	alike   int
	version version
	isOne   bool
}

// Nearest returns an empty collection.
func (f Filter) Nearest() *Nearest { return &Nearest{filter: f} }

// Add offers a tag.
func (n *Nearest) Add(tag string) {
	if !isTag(tag) {
		return
	}
	one := near{tag: tag}
	for _, s := range n.filter.sets {
		one.alike = max(one.alike, s.likeness(tag))
	}
	if len(n.kept) == maxNearest && one.alike < n.kept[maxNearest-1].alike {
		return
	}
	one.version, one.isOne = parseVersion(tag)
	at, found := slices.BinarySearchFunc(n.kept, one, compareNear)
	if !found {
		n.kept = slices.Insert(n.kept, at, one)
		n.kept = n.kept[:min(len(n.kept), maxNearest)]
	}
}

// Tags returns the collected tags, the nearest first.
func (n *Nearest) Tags() []string {
	var tags []string
	for _, one := range n.kept {
		tags = append(tags, one.tag)
	}
	return tags
}

// compareNear orders the most similar tags first, then the highest versions, then tags that are not versions.
func compareNear(a, b near) int {
	switch {
	case a.alike != b.alike:
		return cmp.Compare(b.alike, a.alike)
	case a.isOne && b.isOne:
		return cmp.Or(b.version.compare(a.version), cmp.Compare(a.tag, b.tag))
	case a.isOne != b.isOne:
		if a.isOne {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.tag, b.tag)
}

// likeness returns how much of the literal text of include and suffix a tag contains, in bytes.
func (s *chooser) likeness(tag string) int {
	n := 0
	for _, piece := range s.pieces {
		for len(piece) > n && !strings.Contains(tag, piece) {
			piece = piece[:len(piece)-1]
		}
		n = max(n, len(piece))
	}
	if s.narrow.suffix != "" && strings.HasSuffix(tag, s.narrow.suffix) {
		n += len(s.narrow.suffix)
	}
	return n
}

// pieces returns the longest literal text of each entry.
func pieces(entries []string) []string {
	const enough = 16
	var all []string
	for _, entry := range entries[:min(len(entries), enough)] {
		longest := ""
		for _, piece := range strings.FieldsFunc(entry, func(r rune) bool { return strings.ContainsRune(`*?[]{}()|\^$+/,!`, r) }) {
			if len(piece) > len(longest) {
				longest = piece
			}
		}
		if longest != "" {
			all = append(all, longest)
		}
	}
	return all
}
