package layout

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

// TestReferrersWithoutName: what refers to an image is found where index.json has it without a name, as oras writes it, once.
func TestReferrersWithoutName(t *testing.T) {
	v, repo := newSurveyed(t), image.Repository{}
	repo.Path = v.dir
	want, err := New().Referrers(repo, v.root)
	must(t, err)
	if len(want) != 1 {
		t.Fatal(want)
	}
	ix, err := readIndex(v.dir)
	must(t, err)
	missing := image.DigestOf([]byte("missing"), "")
	others := []entry{
		{MediaType: image.MediaTypeOCIManifest, Digest: want[0].Digest, Size: want[0].Size}, {MediaType: image.MediaTypeOCIManifest, Digest: missing, Size: 7},
		{MediaType: image.MediaTypeOCIManifest, Digest: "sha256:x"}, {MediaType: image.MediaTypeOCIManifest, Digest: v.root},
	}
	ix.entries = append(ix.entries, others...)
	_, err = ix.write(v.dir)
	must(t, err)
	for _, listed := range []bool{true, false} {
		if !listed {
			ix.entries = slices.DeleteFunc(ix.entries, func(e entry) bool { return e.tag() == image.ReferrersTag(v.root) })
			_, err = ix.write(v.dir)
			must(t, err)
		}
		got, err := New().Referrers(repo, v.root)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("listed: %t: %s", listed, diff)
		}
	}
	must(t, os.Remove(v.path(want[0].Digest)))
	odd := manifestOf(`{"schemaVersion":2,"subject":{"digest":"` + string(v.root) + `"},"annotations":{"x":[1]}}`) // which whoever copies it refuses
	must(t, writeFile(v.dir, v.path(odd.Digest), odd.Raw))
	ix.entries = append(ix.entries, entry{MediaType: odd.MediaType, Digest: odd.Digest, Size: odd.Size})
	_, err = ix.write(v.dir)
	must(t, err)
	if got, err := New().Referrers(repo, v.root); err != nil || len(got) != 1 || got[0].Digest != odd.Digest {
		t.Errorf("of one with odd annotations: %v, %v", got, err)
	}
	s := New()
	if got, err := s.Referrers(repo, v.root); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	seen, err := Look(v.dir, nil)
	must(t, err)
	listed := func() int {
		t.Helper()
		raw, err := seen.Referrers(t.Context(), v.root, "")
		must(t, err)
		return strings.Count(string(raw), string(odd.Digest))
	}
	if listed() != 1 {
		t.Error("a view does not list it")
	}
	must(t, os.Remove(v.path(odd.Digest)))
	if listed() != 0 {
		t.Error("a view lists one that is missing")
	}
	if got, err := s.Referrers(repo, v.root); err != nil || len(got) > 0 {
		t.Errorf("of one that is missing: %v, %v", got, err)
	}
}
