package layout

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

// TestManyTags: to look at one tag of thousands does not cost what all of them do. What another process writes is seen at once, and what one has read
// is its own.
func TestManyTags(t *testing.T) {
	s, repo := New(), image.Repository{Path: t.TempDir()}
	m := manifestOf(`{"schemaVersion":2,"layers":[]}`)
	must(t, s.PutManifest(t.Context(), repo.Tag("one"), m))
	ix, err := readIndex(repo.Path)
	must(t, err)
	for i := range 3000 {
		ix.set(fmt.Sprintf("v%d", i), m.Descriptor)
	}
	_, err = ix.write(repo.Path)
	must(t, err)
	if got := testing.AllocsPerRun(10, func() {
		if d, err := s.Head(repo.Tag("v2999")); err != nil || d.Digest != m.Digest {
			t.Errorf("%v, %v", d, err)
		}
	}); got > 300 {
		t.Errorf("to look at a tag takes %v allocations", got)
	}
	other := manifestOf(`{"schemaVersion":2,"layers":[],"annotations":{}}`)
	must(t, New().PutManifest(t.Context(), repo.Tag("v7"), other))
	if d, err := s.Head(repo.Tag("v7")); err != nil || d.Digest != other.Digest {
		t.Errorf("another writer's tag: %v, %v", d, err)
	}
	mine, err := s.indexes.read(repo.Path)
	must(t, err)
	mine.set("v8", other.Descriptor)
	if d, err := s.Head(repo.Tag("v8")); err != nil || d.Digest != m.Digest {
		t.Errorf("a tag that was not written: %v, %v", d, err)
	}
}

// TestRecentIsBounded: what is remembered takes no more bytes than it may.
func TestRecentIsBounded(t *testing.T) {
	var r recent
	for _, step := range []struct {
		dir   string
		bytes int
		want  []string
	}{
		{"a", maxRecent / 2, []string{"a"}}, {"b", maxRecent / 4, []string{"a", "b"}}, {"a", maxRecent * 3 / 4, []string{"a", "b"}},
		{"c", 1, []string{"c"}}, {"d", maxRecent + 1, []string{"c"}}, {"c", maxRecent, []string{"c"}}, {"c", 2, []string{"c"}}, {"e", maxRecent - 2, []string{"c", "e"}},
	} {
		r.remember(step.dir, make([]byte, step.bytes), newIndex())
		if diff := cmp.Diff(step.want, slices.Sorted(maps.Keys(r.all))); diff != "" {
			t.Errorf("after %s: %s", step.dir, diff)
		}
	}
}
