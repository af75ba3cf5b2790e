package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

// TestTags: what was put under a tag last is known, of that repository only.
func TestTags(t *testing.T) {
	s := newStand(t).open(t)
	for i, ref := range []image.Reference{repo("a").Tag("v1"), repo("a").Tag("v1"), repo("a").Tag("v2"), repo("b").Tag("v3")} {
		must(t, s.PutTag(t.Context(), ref.WithDigest(digest(i))))
	}
	got, err := s.Tagged(t.Context(), repo("a"), []string{"v1", "v2", "v3", `"`})
	must(t, err)
	if diff := cmp.Diff(map[string]image.Digest{"v1": digest(1), "v2": digest(2)}, got); diff != "" {
		t.Error(diff)
	}
	if s.PutTag(t.Context(), repo("a").Tag("v1")) == nil {
		t.Error("a tag without a digest is kept")
	}
}
