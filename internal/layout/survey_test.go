package layout

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/image"
)

// surveyed is a layout with two tags that share a blob, something that refers to one, and three files that nobody needs.
type surveyed struct {
	dir                        string
	shared, lone, orphan, root image.Digest
}

func newSurveyed(t *testing.T) surveyed {
	t.Helper()
	s, repo := New(), image.Repository{Path: t.TempDir()}
	blob := func(text string) image.Digest {
		d := image.DigestOf([]byte(text), "")
		must(t, s.PutBlob(t.Context(), repo, image.Descriptor{Digest: d, Size: int64(len(text))}, opener(text)))
		return d
	}
	manifest := func(tag string, subject image.Digest, layers ...string) image.Manifest {
		text := `{"schemaVersion":2,"mediaType":"` + image.MediaTypeOCIManifest + `","layers":[`
		for i, l := range layers {
			if i > 0 {
				text += ","
			}
			d := blob(l)
			text += `{"mediaType":"a/b","digest":"` + string(d) + `","size":` + itoa(len(l)) + `}`
		}
		text += "]"
		if subject != "" {
			text += `,"subject":{"mediaType":"a/b","digest":"` + string(subject) + `","size":1}`
		}
		m := manifestOf(text + "}")
		ref := repo.Digest(m.Digest)
		if tag != "" {
			ref = repo.Tag(tag)
		}
		must(t, s.PutManifest(t.Context(), ref, m))
		return m
	}
	v := surveyed{dir: repo.Path}
	v.root = manifest("one", "", "shared", "first").Digest
	manifest("two", "", "shared", "second")
	manifest("", v.root, "signature")
	v.shared, v.lone = image.DigestOf([]byte("shared"), ""), image.DigestOf([]byte("second"), "")
	manifest("two", "", "shared", "third") // so the second is needed no more
	v.orphan = blob("orphan")
	must(t, os.WriteFile(filepath.Join(v.dir, tempDir, "cut-off"), []byte("x"), 0o600))
	return v
}

func itoa(n int) string { return string(rune('0' + n)) }

func (v surveyed) path(d image.Digest) string { return blobPath(v.dir, d) }

func TestVerify(t *testing.T) {
	for name, tt := range map[string]struct {
		harm func(t *testing.T, v surveyed)
		want []string // texts of problems, or of the error
	}{
		"whole":                  {func(*testing.T, surveyed) {}, nil},
		"a flipped byte":         {func(t *testing.T, v surveyed) { must(t, os.WriteFile(v.path(v.shared), []byte("sharee"), 0o600)) }, []string{"does not match its digest"}},
		"a cut blob":             {func(t *testing.T, v surveyed) { must(t, os.Truncate(v.path(v.shared), 3)) }, []string{"has 3 bytes, and 6 are wanted"}},
		"a missing blob":         {func(t *testing.T, v surveyed) { must(t, os.Remove(v.path(v.shared))) }, []string{"the blob is missing"}},
		"a missing manifest":     {func(t *testing.T, v surveyed) { must(t, os.Remove(v.path(v.root))) }, []string{"the manifest is missing"}},
		"a broken manifest":      {func(t *testing.T, v surveyed) { must(t, os.WriteFile(v.path(v.root), []byte("{"), 0o600)) }, []string{"the manifest does not match its digest"}},
		"a truncated index.json": {func(t *testing.T, v surveyed) { must(t, os.Truncate(filepath.Join(v.dir, indexFile), 20)) }, []string{"is damaged and was left as it is"}},
		"no oci-layout":          {func(t *testing.T, v surveyed) { must(t, os.Remove(filepath.Join(v.dir, layoutFile))) }, []string{"is not an OCI layout"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newSurveyed(t)
			tt.harm(t, v)
			got, err := Verify(t.Context(), v.dir)
			var texts []string
			if err != nil {
				texts = append(texts, err.Error())
			}
			for _, p := range got.Problems {
				texts = append(texts, p.Tag+" "+p.Text)
			}
			if len(texts) != len(tt.want) || len(texts) > 0 && !strings.Contains(texts[0], tt.want[0]) {
				t.Errorf("%q, want %q", texts, tt.want)
			}
			if tt.want == nil && (got.Tags != 3 || got.Manifests != 4 || got.Blobs != 4 || got.Unreachable != 4) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestCollect(t *testing.T) {
	v, s := newSurveyed(t), New()
	if got, err := s.Collect(t.Context(), v.dir, time.Hour, false); err != nil || got.Unreachable != 0 {
		t.Errorf("what is young is removed: %+v %v", got, err)
	}
	if got, err := s.Collect(t.Context(), v.dir, 0, true); err != nil || got.Unreachable != 4 {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := os.Stat(v.path(v.orphan)); err != nil {
		t.Error("a dry run removes")
	}
	if got, err := s.Collect(t.Context(), v.dir, 0, false); err != nil || got.Unreachable != 4 || got.UnreachableBytes == 0 {
		t.Errorf("%+v %v", got, err)
	}
	for _, gone := range []image.Digest{v.orphan, v.lone} {
		if _, err := os.Stat(v.path(gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	got, err := Verify(t.Context(), v.dir)
	if err != nil || len(got.Problems) > 0 || got.Unreachable > 0 || got.Tags != 3 {
		t.Errorf("%+v %v", got, err)
	}
	referrers, err := s.Referrers(image.Repository{Path: v.dir}, v.root)
	if err != nil || len(referrers) != 1 {
		t.Errorf("%v %v", referrers, err)
	}
}

// Nothing is removed of a layout that is not whole, nor of a folder that is none, in which nothing is made either.
func TestCollectLeavesAlone(t *testing.T) {
	v := newSurveyed(t)
	must(t, os.Remove(v.path(v.root)))
	got, err := New().Collect(t.Context(), v.dir, 0, false)
	if err != nil || len(got.Problems) == 0 || got.Unreachable > 0 {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := os.Stat(v.path(v.orphan)); err != nil {
		t.Error(err)
	}
	empty := t.TempDir()
	if _, err := New().Collect(t.Context(), empty, 0, false); err == nil {
		t.Error("a folder is taken for a layout")
	}
	if files, err := os.ReadDir(empty); err != nil || len(files) > 0 {
		t.Errorf("%v %v", files, err)
	}
}

// TestLinkedBlobs: blobs behind a symbolic link may be another layout's as well, so gc removes neither these nor the link; repair finds what is broken there.
func TestLinkedBlobs(t *testing.T) {
	for _, name := range []string{blobsDir, blobsDir + "/sha256"} {
		v, s := newSurveyed(t), New()
		folder, elsewhere := filepath.Join(v.dir, name), filepath.Join(t.TempDir(), "elsewhere")
		must(t, os.Rename(folder, elsewhere))
		must(t, os.Symlink(elsewhere, folder))
		if got, err := s.Collect(t.Context(), v.dir, 0, false); err == nil || !strings.Contains(err.Error(), folder+" is a symbolic link") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		for _, d := range []image.Digest{v.orphan, v.shared} {
			if _, err := os.Stat(v.path(d)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		must(t, os.WriteFile(v.path(v.shared), []byte("sharee"), 0o600))
		if got, err := s.Repair(t.Context(), v.dir, false); err != nil || len(got.Files) != 1 || len(got.Tags) != 2 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestReadOnly: a disk that is mounted read-only can be read by dry runs, which remove nothing.
func TestReadOnly(t *testing.T) {
	v := newSurveyed(t)
	if err := syscall.Mount(v.dir, v.dir, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(v.dir, syscall.MNT_DETACH) })
	must(t, syscall.Mount("", v.dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
	if got, err := New().Collect(t.Context(), v.dir, 0, true); err != nil || got.Unreachable != 4 {
		t.Errorf("gc: %+v, %v", got, err)
	}
	if got, err := New().Repair(t.Context(), v.dir, true); err != nil || !got.Nothing() {
		t.Errorf("repair: %+v, %v", got, err)
	}
	if _, err := New().Collect(t.Context(), v.dir, 0, false); err == nil {
		t.Error("gc removes from a disk that is read-only")
	}
}
