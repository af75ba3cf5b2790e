package image

import (
	"iter"
	"slices"
)

// Sums say what tags hold, as far as that is known. Beside the tags, each takes the size of a sum. A nil *Sums knows nothing.
type Sums struct {
	tags  []string
	sums  []Sum
	known int
}

// NewSums returns the sums of tags, which are sorted; the zero Sum for a tag whose sum is not known.
func NewSums(tags []string, sums []Sum) *Sums {
	s := &Sums{tags: tags, sums: sums}
	for _, sum := range sums {
		if sum != (Sum{}) {
			s.known++
		}
	}
	return s
}

// Len returns of how many tags the sum is known.
func (s *Sums) Len() int {
	if s == nil {
		return 0
	}
	return s.known
}

// Of returns what a tag holds; the zero Sum if that is not known.
func (s *Sums) Of(tag string) Sum {
	if i := s.find(tag); i >= 0 {
		return s.sums[i]
	}
	return Sum{}
}

// Forget forgets what a tag holds.
func (s *Sums) Forget(tag string) {
	if i := s.find(tag); i >= 0 && s.sums[i] != (Sum{}) {
		s.sums[i] = Sum{}
		s.known--
	}
}

// find returns the position of a tag, and -1 if there is none.
func (s *Sums) find(tag string) int {
	if s == nil {
		return -1
	}
	if i, found := slices.BinarySearch(s.tags, tag); found {
		return i
	}
	return -1
}

// All returns the tags of which the sum is known, in their order.
func (s *Sums) All() iter.Seq2[string, Sum] { return s.From(0) }

// From is [Sums.All] beginning at a position, of which any that is not negative will do, and going round.
func (s *Sums) From(first int) iter.Seq2[string, Sum] {
	return func(yield func(string, Sum) bool) {
		if s.Len() == 0 {
			return
		}
		for n := range s.tags {
			i := (first%len(s.tags) + n) % len(s.tags)
			if s.sums[i] != (Sum{}) && !yield(s.tags[i], s.sums[i]) {
				return
			}
		}
	}
}

// Tags returns the tags of which the sum is known, in their order.
func (s *Sums) Tags() []string {
	tags := make([]string, 0, s.Len())
	for tag := range s.All() {
		tags = append(tags, tag)
	}
	return tags
}

// Or returns what s knows, and of other tags what other knows.
func (s *Sums) Or(other *Sums) *Sums {
	switch {
	case s.Len() == 0:
		return other
	case other.Len() == 0:
		return s
	}
	tags := append(s.Tags(), other.Tags()...)
	slices.Sort(tags)
	tags = slices.Compact(tags)
	sums := make([]Sum, len(tags))
	for i, tag := range tags {
		if sums[i] = s.Of(tag); sums[i] == (Sum{}) {
			sums[i] = other.Of(tag)
		}
	}
	return NewSums(tags, sums)
}
