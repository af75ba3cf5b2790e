package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes an image into a layout.
func put(t testing.TB, dir, tag string, i registry.Image) {
	t.Helper()
	store, repo := layout.New(), image.Repository{Path: dir}
	for _, b := range i.Blobs {
		d := image.Descriptor{Digest: image.Digest(b.Digest), Size: int64(len(b.Data))}
		must(t, store.PutBlob(t.Context(), repo, d, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Data)), nil }))
	}
	for k, m := range i.Manifests {
		ref := repo.Digest(image.Digest(m.Digest))
		if k == len(i.Manifests)-1 {
			ref.Tag = tag
		}
		d := image.Descriptor{Digest: image.Digest(m.Digest), Size: int64(len(m.Body)), MediaType: m.MediaType}
		must(t, store.PutManifest(t.Context(), ref, image.Manifest{Descriptor: d, Raw: m.Body}))
	}
}

// stage is a folder with two layouts, of which images share blobs.
func stage(t testing.TB, tags int, size int64) string {
	t.Helper()
	dir := t.TempDir()
	base := registry.NewLayer(99, size)
	for i := range tags {
		put(t, filepath.Join(dir, []string{"app", "quay.io/tools"}[i%2]), fmt.Sprintf("v%d", i), registry.MultiArch(int64(i), registry.ImageOptions{LayerSize: size, Base: []registry.Layer{base}}))
	}
	return dir
}

func create(t testing.TB, from, to string, size int64) Created {
	t.Helper()
	done, err := Create(t.Context(), CreateOptions{From: from, To: to, ID: "plant-7", VolumeSize: size, Tool: "test", Now: time.Unix(1e9, 0)})
	must(t, err)
	return done
}

func load(t testing.TB, into string, paths ...string) Loaded {
	t.Helper()
	l, err := Load(t.Context(), LoadOptions{Paths: paths, Into: into})
	must(t, err)
	return l
}

// tagsOf are the tags of all layouts of a folder with their digests. All that they lead to has to be whole.
func tagsOf(t testing.TB, dir string) map[string]image.Digest {
	t.Helper()
	store, tags := layout.New(), map[string]image.Digest{}
	paths, err := layoutsIn(store, dir)
	if err != nil {
		return tags
	}
	for _, path := range paths {
		repo := image.Repository{Path: filepath.Join(dir, path)}
		s, err := layout.Verify(t.Context(), repo.Path)
		must(t, err)
		for _, p := range s.Problems {
			t.Errorf("%s: %s %s", repo, p.Digest, p.Text)
		}
		names, err := store.Tags(repo)
		must(t, err)
		for _, name := range names {
			d, err := store.Head(repo.Tag(name))
			must(t, err)
			tags[path+":"+name] = d.Digest
		}
	}
	return tags
}

// TestRoundTrip: volumes that are loaded one by one, in any order, bring the same tags with the same digests; each volume alone is within its
// size, and nothing is left over at the end.
func TestRoundTrip(t *testing.T) {
	for name, size := range map[string]int64{"one volume": 0, "several": 200_000, "of the least size": MinVolume} {
		t.Run(name, func(t *testing.T) {
			from, to, into := stage(t, 6, 50_000), t.TempDir(), filepath.Join(t.TempDir(), "into")
			done := create(t, from, to, size)
			if v, err := Verify(t.Context(), []string{to}, false); err != nil || !v.Whole() {
				t.Fatalf("%v, %v", v.Problems, err)
			}
			split := 0
			for _, v := range done.Volumes {
				info, err := os.Stat(filepath.Join(to, v.Name))
				must(t, err)
				if info.Size() != v.Size || size != 0 && v.Size > size {
					t.Errorf("%s has %d bytes, %d are listed", v.Name, info.Size(), v.Size)
				}
				for _, p := range v.Parts {
					if p.Offset > 0 {
						split++
					}
				}
			}
			if (size != 0) != (len(done.Volumes) > 1) || size != 0 && split == 0 {
				t.Errorf("%d volumes, %d parts", len(done.Volumes), split)
			}
			last := Loaded{}
			for i := range done.Volumes { // the last volume first
				v := done.Volumes[len(done.Volumes)-1-i]
				stick := t.TempDir()
				must(t, os.Rename(filepath.Join(to, v.Name), filepath.Join(stick, v.Name)))
				if i == 0 {
					must(t, os.Rename(done.Document, filepath.Join(stick, filepath.Base(done.Document))))
				}
				if last.Bundle != nil && (last.Whole() || last.Request == "") {
					t.Errorf("before volume %s: %v", v.Name, last)
				}
				last = load(t, into, stick)
			}
			if !last.Whole() || len(last.Missing) > 0 || len(last.Problems) > 0 {
				t.Errorf("%d are missing: %v", len(last.Missing), last.Problems)
			}
			if diff := cmp.Diff(tagsOf(t, from), tagsOf(t, into)); diff != "" {
				t.Error(diff)
			}
			left, err := filepath.Glob(filepath.Join(into, stateDir, "*"))
			must(t, err)
			if len(left) != 4 { // the lock, the record and its document, and the folder for others
				t.Errorf("left behind: %q", left)
			}
			again, err := Load(t.Context(), LoadOptions{Paths: []string{to}, Into: into})
			if size == 0 && (err == nil || again.Bundle != nil) {
				t.Error("a folder without a bundle was loaded")
			}
		})
	}
}

// TestListTooLong: a bundle whose list could not be read is refused before a volume is written.
func TestListTooLong(t *testing.T) {
	fulltest.Long(t)
	from, to := stage(t, 2, 1000), t.TempDir()
	done := create(t, from, to, MinVolume)
	raw, err := os.ReadFile(done.Document)
	must(t, err)
	done.Tool += strings.Repeat("x", maxDocument-len(raw))
	if err := done.fits(); err != nil { // its length is what the list has at last
		t.Error(err)
	}
	empty := t.TempDir()
	_, err = Create(t.Context(), CreateOptions{From: from, To: empty, ID: "plant-8", Tool: done.Tool + "x"})
	if err == nil || !strings.Contains(err.Error(), "67108864 are the most") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestLayoutItself: a layout is bundled by its own path too, also one that ends with a slash, as shells complete it, or is a symbolic link.
func TestLayoutItself(t *testing.T) {
	app, link := filepath.Join(stage(t, 2, 1000), "app"), filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(app, link))
	for _, from := range []string{app, app + "/", link, link + "/"} {
		if done := create(t, from, t.TempDir(), 0); len(done.Refs) != 1 || done.Refs[0].Repository != "" {
			t.Errorf("%s: %v", from, done.Refs)
		}
	}
}

// TestSameBytes: the same layouts make the same volumes, whatever is left of them from before.
func TestSameBytes(t *testing.T) {
	from, to := stage(t, 4, 50_000), t.TempDir()
	first := create(t, from, to, 100_000)
	for name, harm := range map[string]func(path string) error{
		"whole": func(string) error { return nil },
		"in the writing": func(path string) error {
			return errors.Join(os.Rename(path, path+partEnding), os.Truncate(path+partEnding, 70_000))
		},
		"absent":            os.Remove,
		"longer":            func(path string) error { return os.Truncate(path, 300_000) },
		"shorter than that": func(path string) error { return os.Truncate(path, 0) },
	} {
		must(t, os.RemoveAll(filepath.Join(from, stateDir)))
		must(t, os.Remove(first.Document))
		must(t, harm(filepath.Join(to, first.Volumes[1].Name)))
		again := create(t, from, to, 100_000)
		if diff := cmp.Diff(first.Bundle, again.Bundle, cmp.AllowUnexported(Part{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		kept := len(first.Volumes) - 1
		if name == "whole" {
			kept++
		}
		if again.Kept != kept {
			t.Errorf("%s: %d of %d volumes were kept, want %d", name, again.Kept, len(first.Volumes), kept)
		}
		if v, err := Verify(t.Context(), []string{to}, false); err != nil || !v.Whole() {
			t.Errorf("%s: %v, %v", name, v.Problems, err)
		}
	}
}

// TestOtherSize: what an interrupted Create with smaller volumes has left is removed, and nothing else.
func TestOtherSize(t *testing.T) {
	from, to := stage(t, 4, 50_000), t.TempDir()
	first := create(t, from, to, MinVolume)
	must(t, errors.Join(os.RemoveAll(filepath.Join(from, stateDir)), os.Remove(first.Document)))
	kept := []string{"plant-7-0002-vol-001.tar", "plant-70-0001-vol-001.tar", "plant-7-0001-notes.txt", "plant-7-0001-vol-001.tar.minisig"}
	for _, name := range append(kept, "plant-7-0001-vol-099.tar.part") {
		must(t, os.WriteFile(filepath.Join(to, name), nil, 0o600))
	}
	done := create(t, from, to, 0)
	if v, err := Verify(t.Context(), []string{to}, false); err != nil || !v.Whole() || done.Seq != 1 {
		t.Errorf("%v, %v", v.Problems, err)
	}
	files, err := os.ReadDir(to)
	must(t, err)
	if len(files) != 2+len(kept) {
		t.Errorf("%d files: %v", len(files), files)
	}
}

// TestUnrecorded: a Create that was killed after its document, and before it could record that, is complete.
func TestUnrecorded(t *testing.T) {
	from, to := stage(t, 2, 1000), t.TempDir()
	first := create(t, from, to, 0)
	must(t, os.RemoveAll(filepath.Join(from, stateDir)))
	if again := create(t, from, to, 0); again.Seq != 1 || again.SHA256 != first.SHA256 {
		t.Errorf("%s was made again as %s", first.Name(), again.Name())
	}
	put(t, filepath.Join(from, "app"), "new", registry.MultiArch(77, registry.ImageOptions{}))
	must(t, os.RemoveAll(filepath.Join(from, stateDir)))
	if again := create(t, from, to, 0); again.Seq != 2 || len(again.Refs) != 3 {
		t.Errorf("%s with %d tags", again.Name(), len(again.Refs))
	}
	if _, err := Verify(t.Context(), []string{to}, false); err == nil || !strings.Contains(err.Error(), "several bundles") {
		t.Errorf("of two bundles in a folder one was chosen: %v", err)
	}
	if v, err := Verify(t.Context(), []string{first.Document}, false); err != nil || !v.Whole() {
		t.Errorf("the first one: %v, %v", v.Problems, err)
	}
}

// TestBrokenStage: a bundle is made of what is whole only.
func TestBrokenStage(t *testing.T) {
	blob := func(t *testing.T, from string) string {
		i := registry.MultiArch(0, registry.ImageOptions{LayerSize: 50_000, Base: []registry.Layer{registry.NewLayer(99, 50_000)}})
		return layout.BlobPath(image.Repository{Path: filepath.Join(from, "app")}, image.Digest(i.Blobs[len(i.Blobs)-1].Digest))
	}
	for name, harm := range map[string]func(path string) error{
		"missing": os.Remove,
		"short":   func(path string) error { return os.Truncate(path, 10) },
		"changed": func(path string) error {
			raw, err := os.ReadFile(path)
			raw[len(raw)/2] ^= 1
			return errors.Join(err, os.WriteFile(path, raw, 0o600))
		},
	} {
		from, to := stage(t, 4, 50_000), t.TempDir()
		must(t, harm(blob(t, from)))
		_, err := Create(t.Context(), CreateOptions{From: from, To: to, ID: "a", VolumeSize: 100_000})
		if err == nil || !strings.Contains(err.Error(), "dray layout repair") {
			t.Errorf("%s: a bundle was made, or the error says no way out: %v", name, err)
		}
		if _, err := Verify(t.Context(), []string{to}, false); !errors.Is(err, ErrNoBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOlder: what was loaded from a newer bundle does not go back, unless that is asked for.
func TestOlder(t *testing.T) {
	from, one, two, into := stage(t, 2, 1000), t.TempDir(), t.TempDir(), t.TempDir()
	create(t, from, one, 0)
	old := tagsOf(t, from)
	put(t, filepath.Join(from, "app"), "v0", registry.MultiArch(77, registry.ImageOptions{}))
	create(t, from, two, 0)
	load(t, into, one)
	load(t, into, one) // the same again
	if l := load(t, into, two); l.Refs[0].State != Moved || l.Refs[0].Was != old["app:v0"] || l.Refs[1].State != Kept {
		t.Errorf("%v", l.Refs)
	}
	if _, err := Load(t.Context(), LoadOptions{Paths: []string{one}, Into: into}); !errors.Is(err, ErrOlder) {
		t.Errorf("an older bundle: %v", err)
	}
	if diff := cmp.Diff(tagsOf(t, from), tagsOf(t, into)); diff != "" {
		t.Error(diff)
	}
	other := t.TempDir()
	must(t, os.RemoveAll(filepath.Join(from, stateDir)))
	create(t, from, other, 0)
	put(t, filepath.Join(from, "app"), "v0", registry.MultiArch(78, registry.ImageOptions{}))
	create(t, from, other, 0)
	if _, err := Load(t.Context(), LoadOptions{Paths: []string{filepath.Join(other, "plant-7-0002-bundle.json")}, Into: into}); !errors.Is(err, ErrOlder) {
		t.Errorf("another bundle with the number: %v", err)
	}
	_, err := Load(t.Context(), LoadOptions{Paths: []string{one}, Into: into, AllowOlder: true})
	must(t, err)
	if diff := cmp.Diff(old, tagsOf(t, into)); diff != "" {
		t.Error(diff)
	}
}

// TestOneAtATime: two processes do not make bundles of one folder at the same time.
func TestOneAtATime(t *testing.T) {
	from := stage(t, 1, 1000)
	f, err := openFolder(from)
	must(t, err)
	defer f.close()
	if _, err := Create(t.Context(), CreateOptions{From: from, To: t.TempDir(), ID: "a"}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Error(err)
	}
}

// TestTar: a volume is a tar archive in the eyes of others, with nothing but files below blobs besides the two of a layout.
func TestTar(t *testing.T) {
	from, to := stage(t, 3, 50_000), t.TempDir()
	done := create(t, from, to, 100_000)
	content := map[string][]byte{}
	for i, v := range done.Volumes {
		f, err := os.Open(filepath.Join(to, v.Name))
		must(t, err)
		r := tar.NewReader(f)
		for n := 0; ; n++ {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			raw, err := io.ReadAll(r)
			must(t, err)
			name, _, _ := strings.Cut(h.Name, ".part-")
			switch {
			case i == 0 && n < 2:
				name = []string{"oci-layout", "index.json"}[n]
			case !strings.HasPrefix(name, "blobs/sha256/"):
				t.Errorf("%s has %s", v.Name, h.Name)
			}
			if h.Mode != 0o644 || h.Uid != 0 || h.ModTime.Unix() != 0 || h.Typeflag != tar.TypeReg {
				t.Errorf("%+v", h)
			}
			content[name] = append(content[name], raw...)
		}
		must(t, f.Close())
	}
	if len(content) != 2+len(done.contents()) {
		t.Errorf("%d entries", len(content))
	}
	for name, raw := range content {
		if d, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && image.DigestOf(raw, "") != image.Digest("sha256:"+d) {
			t.Errorf("%s has other bytes", name)
		}
	}
	var index struct {
		Manifests []struct{ Annotations map[string]string }
	}
	must(t, json.Unmarshal(content["index.json"], &index))
	if len(index.Manifests) != 3 || index.Manifests[2].Annotations["org.opencontainers.image.ref.name"] != "quay.io/tools:v1" {
		t.Errorf("%s", content["index.json"])
	}
}

// TestHeader pins the bytes of headers: a bundle of one version of the program is read by all others.
func TestHeader(t *testing.T) {
	sums := map[string]string{}
	for name, p := range map[string]Part{
		"plain": {Digest: image.DigestOf(nil, ""), Size: 12345},
		"part":  {Digest: image.DigestOf(nil, ""), Size: 12345, number: 7},
		"large": {Digest: image.DigestOf(nil, ""), Size: 20 << 30},
		"long":  {Digest: image.DigestOf(nil, image.Digest("sha512:"+strings.Repeat("0", 128))), Size: 1},
	} {
		raw, err := header(p.entryName(), p.Size)
		must(t, err)
		sums[name] = fmt.Sprintf("%d %s", len(raw), image.ShortDigest(image.DigestOf(raw, "")))
	}
	want := map[string]string{
		"large": "1536 sha256:5cee1eddec25", "long": "1536 sha256:0b2b1a0bb032", "part": "512 sha256:6f3a5fff2d2b", "plain": "512 sha256:b257bef872e8",
	}
	if diff := cmp.Diff(want, sums); diff != "" {
		t.Error(diff)
	}
}

// TestSparse: content of more than eight gigabytes, which is a size that USTAR cannot say, is carried and comes apart as any other.
func TestSparse(t *testing.T) {
	b := &Bundle{Version: version, ID: "a", Seq: 1, Refs: []Ref{}, Blobs: []Content{{image.DigestOf(nil, ""), 20 << 30}}}
	for limit, want := range map[int64]int{0: 1, 4 << 30: 6, 9 << 30: 3} {
		must(t, b.divide(limit, nil))
		if len(b.Volumes) != want {
			t.Errorf("%d: %d volumes", limit, len(b.Volumes))
		}
		for i := range b.Volumes {
			size, err := b.volumeSize(i)
			must(t, err)
			if limit != 0 && (size > limit || i < want-1 && size < limit-block) {
				t.Errorf("%d: volume %d has %d bytes", limit, i, size)
			}
		}
	}
}

// TestReadByOthers: skopeo reads a bundle of one volume.
func TestReadByOthers(t *testing.T) {
	skopeo := fulltest.Program(t, "skopeo", "Debian's package skopeo")
	from := stage(t, 3, 50_000)
	for name, tags := range map[string][]string{"": {"app:v0", "quay.io/tools:v1", "app:v2"}, "app": {"v0", "v2"}} {
		to := t.TempDir()
		done := create(t, filepath.Join(from, name), to, 0)
		for _, tag := range tags {
			archive, copied := "oci-archive:"+filepath.Join(to, done.Volumes[0].Name)+":"+tag, filepath.Join(t.TempDir(), "copy")
			out, err := exec.Command(skopeo, "copy", "--quiet", "--all", "--insecure-policy", archive, "dir:"+copied).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", tag, err, out)
			}
		}
	}
}

// TestUntagged: what a layout has without a tag is said, unless it belongs to an image that has one.
func TestUntagged(t *testing.T) {
	from := t.TempDir()
	i := registry.MultiArch(1, registry.ImageOptions{})
	put(t, filepath.Join(from, "app"), "v1", i)
	path := filepath.Join(from, "app", "index.json")
	raw, err := os.ReadFile(path)
	must(t, err)
	other := registry.MultiArch(2, registry.ImageOptions{})
	put(t, filepath.Join(from, "app"), "v2", other)
	nameless := func(d string) string { return `{"mediaType":"` + image.MediaTypeOCIIndex + `","digest":"` + d + `"},` }
	raw = bytes.Replace(raw, []byte(`"manifests":[`), []byte(`"manifests":[`+nameless(other.Digest)+nameless(i.Manifests[0].Digest)), 1)
	must(t, os.WriteFile(path, raw, 0o600))
	done := create(t, from, t.TempDir(), 0)
	if diff := cmp.Diff([]string{"app@" + other.Digest}, done.LeftOut); diff != "" || len(done.Refs) != 1 {
		t.Errorf("%d tags, %s", len(done.Refs), diff)
	}
}
