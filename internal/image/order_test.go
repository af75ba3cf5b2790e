package image

import (
	"slices"
	"testing"
)

func TestCompareTags(t *testing.T) {
	want := []string{"", "1", "1.2", "1.2.0", "1.9", "01.10", "1.10", "1.10-rc1", "2024-01-02", "2024-01-10", "a", "a01", "a1", "a2", "a10", "a10b", "latest", "v1.9.1", "v1.10.0"}
	for range 3 {
		got := slices.Clone(want)
		slices.Reverse(got)
		slices.SortFunc(got, CompareTags)
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	for _, a := range want {
		for _, b := range want {
			if CompareTags(a, b) != -CompareTags(b, a) || (CompareTags(a, b) == 0) != (a == b) {
				t.Errorf("%q and %q", a, b)
			}
		}
	}
}

// FuzzCompareTags: the order is total, whatever the texts are.
func FuzzCompareTags(f *testing.F) {
	f.Add("v1.10", "v1.9", "v01.9")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if CompareTags(a, b) != -CompareTags(b, a) || (CompareTags(a, b) == 0) != (a == b) {
			t.Errorf("%q and %q", a, b)
		}
		if CompareTags(a, b) <= 0 && CompareTags(b, c) <= 0 && CompareTags(a, c) > 0 {
			t.Errorf("%q, %q and %q", a, b, c)
		}
	})
}
