package layout

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

// An index may list blobs, as BuildKit's caches do, and what its media type does not tell: all of it is kept, read and followed.
func TestIndexOfBlobs(t *testing.T) {
	s, repo := New(), image.Repository{Path: t.TempDir()}
	put := func(text string) image.Digest {
		d := image.DigestOf([]byte(text), "")
		must(t, s.PutBlob(t.Context(), repo, image.Descriptor{Digest: d, Size: int64(len(text))}, opener(text)))
		return d
	}
	below, layer := "below", "a layer"
	inner := fmt.Sprintf(`{"schemaVersion":2,"layers":[{"mediaType":"a/b","digest":%q,"size":%d}]}`, put(below), len(below))
	var entries []string
	for mediaType, text := range map[string]string{
		"application/vnd.oci.image.layer.v1.tar+gzip": layer,
		"application/vnd.buildkit.cacheconfig.v0":     `{"layers":[],"records":[]}`,
		"application/vnd.acme.notes+json":             `{"layers":[{"blob":"none"}]}`,
		"application/vnd.acme.weights":                "weights",
		"application/vnd.acme.bundle":                 inner,
	} {
		entries = append(entries, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, put(text), len(text)))
	}
	index := manifestOf(`{"schemaVersion":2,"mediaType":"` + image.MediaTypeOCIIndex + `","manifests":[` + strings.Join(entries, ",") + "]}")
	index.MediaType = image.MediaTypeOCIIndex
	must(t, s.PutManifest(t.Context(), repo.Tag("cache"), index))

	if got, err := s.Collect(t.Context(), repo.Path, 0, false); err != nil || got.Unreachable != 0 || len(got.Problems) > 0 {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := Verify(t.Context(), repo.Path); err != nil || len(got.Problems) > 0 || got.Manifests != 2 || got.Blobs != 5 {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := s.Repair(t.Context(), repo.Path, false); err != nil || !got.Nothing() {
		t.Errorf("%+v %v", got, err)
	}
	for _, text := range []string{below, layer} {
		must(t, os.Truncate(blobPath(repo.Path, image.DigestOf([]byte(text), "")), 3))
		if got, err := Verify(t.Context(), repo.Path); err != nil || len(got.Problems) != 1 || !strings.Contains(got.Problems[0].Text, "has 3 bytes") {
			t.Errorf("%+v %v", got, err)
		}
		want := Repaired{Files: []image.Digest{image.DigestOf([]byte(text), "")}, Tags: []string{"cache"}}
		if got, err := s.Repair(t.Context(), repo.Path, true); err != nil || !cmp.Equal(got, want) {
			t.Error(cmp.Diff(want, got), err)
		}
		must(t, os.Remove(blobPath(repo.Path, image.DigestOf([]byte(text), ""))))
		put(text)
	}
}

// Indexes that lie in one another without end are a problem, and not a walk without end.
func TestIndexesThatLieTooDeep(t *testing.T) {
	s, repo := New(), image.Repository{Path: t.TempDir()}
	m := manifestOf(`{"schemaVersion":2,"layers":[]}`)
	must(t, s.PutManifest(t.Context(), repo.Digest(m.Digest), m))
	for range image.MaxNesting + 1 {
		entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, m.MediaType, m.Digest, m.Size)
		m = manifestOf(`{"schemaVersion":2,"manifests":[` + strings.Repeat(entry+",", 99) + entry + "]}")
		m.MediaType = image.MediaTypeOCIIndex
		must(t, s.PutManifest(t.Context(), repo.Tag("deep"), m))
	}
	if got, err := Verify(t.Context(), repo.Path); err != nil || len(got.Problems) != 1 || !strings.Contains(got.Problems[0].Text, "more than 32 indexes deep") {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := s.Collect(t.Context(), repo.Path, 0, false); err != nil || got.Unreachable != 0 {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := s.Repair(t.Context(), repo.Path, true); err != nil || !cmp.Equal(got.Tags, []string{"deep"}) {
		t.Errorf("%+v %v", got, err)
	}
}

// An image that is tagged by its own digest has the tag that the list of what refers to it would have: it is no list, and keeps its tag.
func TestImageTaggedByItsDigest(t *testing.T) {
	s, repo := New(), image.Repository{Path: t.TempDir()}
	m := manifestOf(`{"schemaVersion":2,"layers":[]}`)
	must(t, s.PutManifest(t.Context(), repo.Tag(image.ReferrersTag(m.Digest)), m))
	if list, err := s.Referrers(repo, m.Digest); err != nil || len(list) > 0 {
		t.Errorf("%v %v", list, err)
	}
	signature := manifestOf(fmt.Sprintf(`{"schemaVersion":2,"layers":[],"subject":{"digest":%q}}`, m.Digest))
	if err := s.PutManifest(t.Context(), repo.Digest(signature.Digest), signature); err == nil || !strings.Contains(err.Error(), "set referrers: false") {
		t.Errorf("error = %v", err)
	}
	if d, err := s.Head(repo.Tag(image.ReferrersTag(m.Digest))); err != nil || d.Digest != m.Digest {
		t.Errorf("the tag holds %v, %v", d, err)
	}
}
