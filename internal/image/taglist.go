package image

import (
	"iter"
	"slices"
	"strings"
)

// TagList is a sorted list of tags, none of which comes twice. It takes the letters of its tags and a byte for each, and little more.
type TagList struct {
	// blocks have blockTags tags each, the last one maybe fewer, separated by spaces, which no tag has.
	blocks []string
	n      int
}

// blockTags is how many tags one string holds.
const blockTags = 64

// NewTagList returns a list of tags. It leaves out what is no tag since it is empty or has a space.
func NewTagList(tags []string) TagList {
	if !slices.IsSorted(tags) {
		tags = slices.Sorted(slices.Values(tags))
	}
	return CollectTags(slices.Values(tags))
}

// CollectTags is [NewTagList] for tags that come sorted.
func CollectTags(tags iter.Seq[string]) (l TagList) {
	block := make([]string, 0, blockTags)
	add := func() {
		if len(block) > 0 {
			l.blocks = append(l.blocks, strings.Join(block, " "))
			l.n += len(block)
			block = block[:0]
		}
	}
	last := ""
	for tag := range tags {
		if tag == last || strings.Contains(tag, " ") {
			continue
		}
		if last = tag; len(block) == blockTags {
			add()
		}
		block = append(block, tag)
	}
	add()
	return l
}

// Len returns how many tags there are.
func (l TagList) Len() int { return l.n }

// Size returns how many bytes the tags have.
func (l TagList) Size() int {
	n := len(l.blocks) - l.n // without the spaces
	for _, block := range l.blocks {
		n += len(block)
	}
	return n
}

// All returns the tags in their order.
func (l TagList) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, tag := range l.from(0) {
			if !yield(tag) {
				return
			}
		}
	}
}

// from returns the tags with their positions, beginning at one and going round.
func (l TagList) from(first int) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for k := range len(l.blocks) + 1 { // the first block once for its end, and once for its beginning
			if l.n == 0 {
				return
			}
			b := (first/blockTags + k) % len(l.blocks)
			i := b * blockTags
			for tag := range strings.SplitSeq(l.blocks[b], " ") {
				if (k > 0 || i >= first) && (k < len(l.blocks) || i < first) && !yield(i, tag) {
					return
				}
				i++
			}
		}
	}
}

// Find returns the position of a tag, and whether the list has it.
func (l TagList) Find(tag string) (position int, ok bool) {
	b, exact := slices.BinarySearchFunc(l.blocks, tag, func(block, tag string) int {
		first, _, _ := strings.Cut(block, " ")
		return strings.Compare(first, tag)
	})
	if exact {
		return b * blockTags, true
	}
	if b == 0 || tag == "" || strings.Contains(tag, " ") {
		return 0, false
	}
	block := l.blocks[b-1]
	for at := 0; at < len(block); at++ {
		i := strings.Index(block[at:], tag)
		if i < 0 {
			break
		}
		at += i
		end := at + len(tag)
		if (at == 0 || block[at-1] == ' ') && (end == len(block) || block[end] == ' ') {
			return (b-1)*blockTags + strings.Count(block[:at], " "), true
		}
	}
	return 0, false
}

// Select returns the tags for which keep returns true: the list itself if these are all.
func (l TagList) Select(keep func(tag string) bool) TagList {
	for tag := range l.All() {
		if keep(tag) {
			continue
		}
		return CollectTags(func(yield func(string) bool) {
			for tag := range l.All() {
				if keep(tag) && !yield(tag) {
					return
				}
			}
		})
	}
	return l
}
