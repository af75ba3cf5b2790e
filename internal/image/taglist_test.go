package image

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTagList compares lists of random tags, of which many begin or end like others, with slices.
func TestTagList(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // reproducible
	tag := func() string {
		return strings.Repeat("v", 1+random.IntN(3)) + fmt.Sprint(random.IntN(200)) + strings.Repeat("-v", random.IntN(3))
	}
	for n := range 300 {
		tags := make([]string, n)
		for i := range tags {
			tags[i] = tag()
		}
		want := slices.Compact(slices.Sorted(slices.Values(tags)))
		list := NewTagList(tags)
		if diff := cmp.Diff(want, slices.Collect(list.All())); diff != "" || list.Len() != len(want) || list.Size() != len(strings.Join(want, "")) {
			t.Fatalf("%d tags: %s, %d, %d", n, diff, list.Len(), list.Size())
		}
		for range 100 {
			tag := tag()
			i, found := slices.BinarySearch(want, tag)
			if got, ok := list.Find(tag); ok != found || ok && got != i {
				t.Fatalf("%q of %q: %d, %t", tag, want, got, ok)
			}
		}
		for i, tag := range want {
			if got, ok := list.Find(tag); !ok || got != i {
				t.Fatalf("%q of %q: %d, %t", tag, want, got, ok)
			}
		}
		first := random.IntN(max(1, len(want)))
		var round []string
		for i, tag := range list.from(first) {
			if want[i] != tag {
				t.Fatalf("%q is at %d", tag, i)
			}
			round = append(round, tag)
		}
		if diff := cmp.Diff(slices.Concat(want[first:], want[:first]), round); diff != "" {
			t.Fatal(diff)
		}
		few := func(tag string) bool { return len(tag) < 5 }
		if diff := cmp.Diff(slices.DeleteFunc(slices.Clone(want), func(tag string) bool { return !few(tag) }), slices.Collect(list.Select(few).All())); diff != "" && list.Select(few).Len() > 0 {
			t.Fatal(diff)
		}
	}
	for _, strange := range []string{"", " ", "v", "v1 v2"} {
		if _, ok := NewTagList([]string{"v1", "v2"}).Find(strange); ok {
			t.Errorf("%q is found", strange)
		}
	}
}
