package image

import (
	"iter"
	"slices"
)

// Sums say what tags hold, as far as that is known. A nil *Sums knows nothing.
type Sums struct {
	tags  TagList
	sums  SumList
	known int
}

// SumList is a list of sums, the zero Sum at first. What it cannot keep it returns as the zero Sum.
type SumList interface {
	At(i int) Sum
	Put(i int, sum Sum)
}

// SumSlice is a [SumList] in memory.
type SumSlice []Sum

// At returns the sum at a position.
func (s SumSlice) At(i int) Sum { return s[i] }

// Put changes the sum at a position.
func (s SumSlice) Put(i int, sum Sum) { s[i] = sum }

// NewSums returns the sums of tags; the zero Sum for a tag whose sum is not known.
func NewSums(tags TagList, sums SumList) *Sums {
	s := &Sums{tags: tags, sums: sums}
	for i := range tags.Len() {
		if sums.At(i) != (Sum{}) {
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
	if s == nil {
		return Sum{}
	}
	if i, ok := s.tags.Find(tag); ok {
		return s.sums.At(i)
	}
	return Sum{}
}

// Forget forgets what a tag holds.
func (s *Sums) Forget(tag string) {
	if i, ok := s.tags.Find(tag); ok && s.sums.At(i) != (Sum{}) {
		s.sums.Put(i, Sum{})
		s.known--
	}
}

// All returns the tags of which the sum is known, in their order.
func (s *Sums) All() iter.Seq2[string, Sum] { return s.From(0) }

// From is [Sums.All] beginning at a position, of which any that is not negative will do, and going round.
func (s *Sums) From(first int) iter.Seq2[string, Sum] {
	return func(yield func(string, Sum) bool) {
		if s.Len() == 0 {
			return
		}
		for i, tag := range s.tags.from(first % s.tags.Len()) {
			if sum := s.sums.At(i); sum != (Sum{}) && !yield(tag, sum) {
				return
			}
		}
	}
}

// Tags returns the tags of which the sum is known.
func (s *Sums) Tags() TagList {
	return CollectTags(func(yield func(string) bool) {
		for tag := range s.All() {
			if !yield(tag) {
				return
			}
		}
	})
}

// Or returns what s knows, and of other tags what other knows, in a list that is made for their number.
func (s *Sums) Or(other *Sums, list func(n int) SumList) *Sums {
	switch {
	case s.Len() == 0:
		return other
	case other.Len() == 0:
		return s
	}
	tags := NewTagList(slices.AppendSeq(slices.Collect(s.Tags().All()), other.Tags().All()))
	sums, i := list(tags.Len()), 0
	for tag := range tags.All() {
		sum := s.Of(tag)
		if sum == (Sum{}) {
			sum = other.Of(tag)
		}
		sums.Put(i, sum)
		i++
	}
	return NewSums(tags, sums)
}
