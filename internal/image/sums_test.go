package image

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSums(t *testing.T) {
	a, b, c := Sum{1}, Sum{2}, Sum{3}
	one, other := NewSums(NewTagList([]string{"a", "b", "d"}), SumSlice{a, {}, a}), NewSums(NewTagList([]string{"b", "c", "d"}), SumSlice{b, c, c})
	list := func(n int) SumList { return make(SumSlice, n) }
	if one.Len() != 2 || one.Of("a") != a || one.Of("b") != (Sum{}) || one.Of("c") != (Sum{}) {
		t.Errorf("%v", one)
	}
	want := map[string]Sum{"a": a, "b": b, "c": c, "d": a}
	if diff := cmp.Diff(want, maps.Collect(one.Or(other, list).All())); diff != "" {
		t.Error(diff)
	}
	for first := range 20 {
		if diff := cmp.Diff(map[string]Sum{"b": b, "c": c, "d": c}, maps.Collect(other.From(first))); diff != "" {
			t.Error(diff)
		}
	}
	other.Forget("c")
	other.Forget("c")
	other.Forget("none")
	if got := other.Tags(); other.Len() != 2 || !slices.Equal(slices.Collect(got.All()), []string{"b", "d"}) {
		t.Error(got)
	}
	var none *Sums
	if none.Len() != 0 || none.Of("a") != (Sum{}) || none.Or(one, list) != one || one.Or(none, list) != one || none.Tags().Len() > 0 {
		t.Error("nil knows something")
	}
}
