package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/emulator/medium"
	"github.com/draysync/dray/internal/image"
)

func manifestOf(raw string) image.Manifest {
	return image.Manifest{
		Descriptor: image.Descriptor{MediaType: image.MediaTypeOCIManifest, Digest: image.DigestOf([]byte(raw), ""), Size: int64(len(raw))},
		Raw:        []byte(raw),
	}
}

func opener(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Run("here", func(t *testing.T) { testRoundTrip(t, t.TempDir()) })
	t.Run("FAT32", func(t *testing.T) { testRoundTrip(t, medium.FAT32(t)) })
	t.Run("exFAT", func(t *testing.T) { testRoundTrip(t, medium.ExFAT(t)) })
}

func testRoundTrip(t *testing.T, dir string) {
	t.Helper()
	s, repo := New(), image.Repository{Path: filepath.Join(dir, "a", "b")}
	if _, err := s.Head(repo.Tag("x")); !errors.Is(err, image.ErrAbsent) {
		t.Fatalf("a directory that is not there: %v", err)
	}
	blob := image.Descriptor{Digest: image.DigestOf([]byte("layer"), ""), Size: 5}
	must(t, s.PutBlob(t.Context(), repo, blob, opener("layer")))
	m := manifestOf(`{"schemaVersion":2,"mediaType":"` + image.MediaTypeOCIManifest + `"}`)
	must(t, s.PutManifest(t.Context(), repo.Tag("x"), m))
	must(t, s.PutManifest(t.Context(), repo.Tag("y"), m))
	d, err := s.Head(repo.Tag("x"))
	must(t, err)
	if diff := cmp.Diff(m.Descriptor, d); diff != "" {
		t.Error(diff)
	}
	got, err := s.Manifest(repo.Digest(m.Digest))
	must(t, err)
	if diff := cmp.Diff(m, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Head(repo.Tag("z")); !errors.Is(err, image.ErrAbsent) {
		t.Errorf("a tag that is not there: %v", err)
	}
	tags, err := s.Tags(repo)
	must(t, err)
	if diff := cmp.Diff([]string{"x", "y"}, tags); diff != "" {
		t.Error(diff)
	}
	body, err := s.OpenBlob(repo, blob, 0)
	must(t, err)
	raw, _ := io.ReadAll(body)
	must(t, body.Close())
	if string(raw) != "layer" {
		t.Errorf("blob = %q", raw)
	}
	below, err := s.Below(image.Repository{Path: filepath.Dir(filepath.Dir(repo.Path))})
	must(t, err)
	if diff := cmp.Diff([]string{repo.Path}, below); diff != "" {
		t.Error(diff)
	}
}

// TestNameless: a layout in which nothing has a name lists the digests, and says so where a tag is asked for.
func TestNameless(t *testing.T) {
	s, repo := New(), image.Repository{Path: t.TempDir()}
	m := manifestOf(`{"schemaVersion":2,"mediaType":"` + image.MediaTypeOCIManifest + `"}`)
	must(t, s.PutManifest(t.Context(), repo.Tag("x"), m))
	path := filepath.Join(repo.Path, indexFile)
	must(t, os.WriteFile(path, []byte(`{"schemaVersion":2,"manifests":[{"mediaType":"`+m.MediaType+`","digest":"`+string(m.Digest)+`","size":`+strconv.FormatInt(m.Size, 10)+`}]}`), 0o600))
	tags, err := s.Tags(repo)
	must(t, err)
	if diff := cmp.Diff([]string{string(m.Digest)}, tags); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Head(repo.Tag("x")); !errors.Is(err, image.ErrAbsent) || !strings.Contains(err.Error(), "name one by its digest, such as @"+string(m.Digest)) {
		t.Errorf("a tag: %v", err)
	}
	if d, err := s.Head(repo.Digest(m.Digest)); err != nil || d != m.Descriptor {
		t.Errorf("the digest: %v, %v", d, err)
	}
	must(t, os.Remove(BlobPath(repo, m.Digest)))
	if _, err := s.OpenBlob(repo, m.Descriptor, 0); !errors.Is(err, image.ErrAbsent) || !strings.Contains(err.Error(), "dray layout repair") {
		t.Errorf("a file that is gone: %v", err)
	}
}

func TestCorruptBlobLeavesNothing(t *testing.T) {
	s, repo := New(), image.Repository{Path: t.TempDir()}
	blob := image.Descriptor{Digest: image.DigestOf([]byte("layer"), ""), Size: 5}
	if err := s.PutBlob(t.Context(), repo, blob, opener("LAYER")); !errors.Is(err, image.ErrCorrupt) {
		t.Fatalf("error = %v", err)
	}
	if has, err := s.HasBlob(t.Context(), repo, blob); has || err != nil {
		t.Errorf("the blob is there: %v, %v", has, err)
	}
	left, err := os.ReadDir(filepath.Join(repo.Path, tempDir))
	must(t, err)
	if len(left) != 0 {
		t.Errorf("temporary files stay: %v", left)
	}
}

// A blob that was damaged has its size still: nothing that is written relies on it, and it is brought again.
func TestDamagedBlobIsNotReliedOn(t *testing.T) {
	repo := image.Repository{Path: t.TempDir()}
	blob := image.Descriptor{Digest: image.DigestOf([]byte("layer"), ""), Size: 5}
	must(t, New().PutBlob(t.Context(), repo, blob, opener("layer")))
	path := blobPath(repo.Path, blob.Digest)
	must(t, os.WriteFile(path, []byte("lager"), 0o600))
	s := New()
	has, err := s.HasBlob(t.Context(), repo, blob)
	must(t, err)
	needs := manifestOf(fmt.Sprintf(`{"layers":[{"digest":%q,"size":5}]}`, blob.Digest))
	if err := s.PutManifest(t.Context(), repo.Tag("x"), needs); has || err == nil {
		t.Fatalf("the damaged blob is there: %t; a manifest that needs it: %v", has, err)
	}
	must(t, s.PutBlob(t.Context(), repo, blob, opener("layer")))
	must(t, s.PutManifest(t.Context(), repo.Tag("x"), needs))
	if raw, err := os.ReadFile(path); string(raw) != "layer" {
		t.Errorf("the blob is %q now, %v", raw, err)
	}
	must(t, os.WriteFile(path, []byte("lager"), 0o600))
	must(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	if has, err = s.HasBlob(t.Context(), repo, blob); has || err != nil {
		t.Errorf("damaged after it was written: %t, %v", has, err)
	}
}

func TestDamagedIndexIsNeverReplaced(t *testing.T) {
	for _, damaged := range []string{`{"manifests":[{`, `null`} {
		s, repo := New(), image.Repository{Path: t.TempDir()}
		must(t, s.PutManifest(t.Context(), repo.Tag("x"), manifestOf(`{"a":1}`)))
		path := filepath.Join(repo.Path, indexFile)
		must(t, os.WriteFile(path, []byte(damaged), 0o600))
		if err := s.PutManifest(t.Context(), repo.Tag("y"), manifestOf(`{"a":2}`)); err == nil || !strings.Contains(err.Error(), "left as it is") {
			t.Errorf("%s: error = %v", damaged, err)
		}
		if raw, _ := os.ReadFile(path); string(raw) != damaged {
			t.Errorf("index.json was replaced by %s", raw)
		}
		if _, err := s.Head(repo.Tag("x")); err == nil || errors.Is(err, image.ErrAbsent) {
			t.Errorf("%s: a damaged layout is taken for an empty one: %v", damaged, err)
		}
	}
}

func TestForeignFieldsStay(t *testing.T) {
	s, repo := New(), image.Repository{Path: t.TempDir()}
	m := manifestOf(`{"a":1}`)
	foreign := `{"schemaVersion":2,"annotations":{"k":"v"},"manifests":[{"mediaType":"m","digest":"` + string(m.Digest) +
		`","size":7,"platform":{"os":"linux"},"annotations":{"org.opencontainers.image.ref.name":"example.org/app:old"}}]}`
	must(t, os.WriteFile(filepath.Join(repo.Path, indexFile), []byte(foreign), 0o600))
	must(t, s.PutManifest(t.Context(), repo.Tag("new"), m))
	var got struct {
		Annotations map[string]string
		Manifests   []map[string]any
	}
	raw, _ := os.ReadFile(filepath.Join(repo.Path, indexFile))
	must(t, json.Unmarshal(raw, &got))
	if got.Annotations["k"] != "v" || len(got.Manifests) != 2 || got.Manifests[0]["platform"] == nil {
		t.Errorf("index.json = %s", raw)
	}
	if d, err := s.Head(repo.Tag("old")); err != nil || d.Digest != m.Digest {
		t.Errorf("a tag named with its image: %v, %v", d, err)
	}
	must(t, s.PutManifest(t.Context(), repo.Tag("old"), manifestOf(`{"a":2}`)))
	tags, err := s.Tags(repo)
	must(t, err)
	if diff := cmp.Diff([]string{"new", "old"}, tags); diff != "" {
		t.Error(diff)
	}
}

func TestTornManifestIsAbsent(t *testing.T) {
	s, repo := New(), image.Repository{Path: t.TempDir()}
	m := manifestOf(`{"a":1}`)
	must(t, s.PutManifest(t.Context(), repo.Tag("x"), m))
	must(t, os.Truncate(blobPath(repo.Path, m.Digest), 3))
	if _, err := s.Head(repo.Tag("x")); !errors.Is(err, image.ErrAbsent) {
		t.Errorf("Head = %v", err)
	}
	if _, err := s.Manifest(repo.Digest(m.Digest)); !errors.Is(err, image.ErrCorrupt) {
		t.Errorf("Manifest = %v", err)
	}
}

func TestReferrers(t *testing.T) {
	for _, like := range []image.Digest{"", image.Digest("sha512:" + strings.Repeat("0", 128))} {
		testReferrers(t, like)
	}
}

// testReferrers tests referrers of a manifest with a digest like that.
func testReferrers(t *testing.T, like image.Digest) {
	t.Helper()
	s, repo := New(), image.Repository{Path: t.TempDir()}
	subject := manifestOf(`{"a":1}`)
	subject.Digest = image.DigestOf(subject.Raw, like)
	must(t, s.PutManifest(t.Context(), repo.Tag("x"), subject))
	r := manifestOf(`{"artifactType":"application/x","subject":{"digest":"` + string(subject.Digest) + `"}}`)
	for range 2 { // the second time changes nothing
		must(t, s.PutManifest(t.Context(), repo.Digest(r.Digest), r))
	}
	got, err := s.Referrers(repo, subject.Digest)
	must(t, err)
	if diff := cmp.Diff([]image.Referrer{{Descriptor: r.Descriptor, ArtifactType: "application/x"}}, got); diff != "" {
		t.Error(diff)
	}
	tags, err := s.Tags(repo)
	must(t, err)
	if len(tags) != 2 || !image.ValidTag(tags[0]) || !image.ValidTag(tags[1]) {
		t.Errorf("the tags are %q", tags)
	}
	if none, err := s.Referrers(repo, r.Digest); len(none) != 0 || err != nil {
		t.Errorf("referrers of a referrer: %v, %v", none, err)
	}
}

// A manifest is refused while anything that it is made of is missing, or torn; what it only refers to may be.
func TestPartsMissing(t *testing.T) {
	s, repo := New(), image.Repository{Path: t.TempDir()}
	blob, child, absent := image.DigestOf([]byte("layer"), ""), manifestOf(`{}`), string(image.DigestOf([]byte("absent"), ""))
	must(t, s.PutBlob(t.Context(), repo, image.Descriptor{Digest: blob, Size: 5}, opener("layer")))
	must(t, s.PutManifest(t.Context(), repo.Digest(child.Digest), child))
	for name, tt := range map[string]struct {
		raw  string
		want string // the part that is missing
	}{
		"whole":         {`{"config":{"digest":"` + string(blob) + `","size":5},"layers":[{"digest":"` + string(blob) + `","size":5}]}`, ""},
		"config":        {`{"config":{"digest":"` + absent + `","size":6}}`, absent},
		"layer":         {`{"layers":[{"digest":"` + string(blob) + `","size":5},{"digest":"` + absent + `","size":6}]}`, absent},
		"torn layer":    {`{"layers":[{"digest":"` + string(blob) + `","size":50}]}`, string(blob)},
		"foreign layer": {`{"layers":[{"digest":"` + absent + `","size":6,"urls":["https://example.com/layer"]}]}`, ""},
		"child":         {`{"manifests":[{"digest":"` + string(child.Digest) + `","size":2},{"digest":"` + absent + `","size":6}]}`, absent},
		"subject":       {`{"subject":{"digest":"` + absent + `","size":6}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := manifestOf(tt.raw)
			err := s.PutManifest(t.Context(), repo.Tag("x"), m)
			missing, refused := errors.AsType[*partsError](err)
			if tt.want == "" {
				must(t, err)
			} else if !refused || string(missing.part) != tt.want {
				t.Errorf("got %v, want that %s is missing", err, tt.want)
			}
			if _, err := s.Head(repo.Digest(m.Digest)); (err == nil) == refused {
				t.Errorf("the manifest is there: %v", err)
			}
		})
	}
}

// Two stores of one process, as two generations of a config have them, do not keep each other out.
func TestConcurrentWritersLoseNothing(t *testing.T) {
	repo := image.Repository{Path: t.TempDir()}
	var group sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		s := New()
		for i := range 20 {
			group.Go(func() {
				raw := `{"` + name + `":"` + string(rune('a'+i)) + `"}`
				if err := s.PutManifest(t.Context(), repo.Tag(name+string(rune('a'+i))), manifestOf(raw)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	tags, err := New().Tags(repo)
	must(t, err)
	if len(tags) != 40 {
		t.Errorf("%d tags of 40 are there", len(tags))
	}
}
