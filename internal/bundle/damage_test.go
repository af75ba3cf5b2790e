package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// damages are what happens to a bundle on its way. Each gets the paths of the volumes and of the document.
var damages = map[string]func(volumes []string, document string) error{
	"a bit of a volume": func(v []string, _ string) error { return flip(pick(v)) },
	"some zeros": func(v []string, _ string) error {
		path := pick(v)
		raw, err := os.ReadFile(path)
		at := rand.IntN(len(raw))
		clear(raw[at:min(len(raw), at+4096)])
		return errors.Join(err, os.WriteFile(path, raw, 0o600))
	},
	"a short volume": func(v []string, _ string) error { return cut(pick(v)) },
	"a long volume": func(v []string, _ string) error {
		f, err := os.OpenFile(pick(v), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(make([]byte, 1+rand.IntN(10_000)))
		return errors.Join(err, f.Close())
	},
	"an empty volume":  func(v []string, _ string) error { return os.Truncate(pick(v), 0) },
	"a missing volume": func(v []string, _ string) error { return os.Remove(pick(v)) },
	"a doubled volume": func(v []string, _ string) error { return copyFile(v[0], v[1+rand.IntN(len(v)-1)]) },
	"a renamed volume": func(v []string, _ string) error {
		return os.Rename(pick(v), strings.Replace(v[0], "-001.", "-099.", 1))
	},
	"swapped volumes": func(v []string, _ string) error {
		return errors.Join(os.Rename(v[0], v[0]+"x"), os.Rename(v[1], v[0]), os.Rename(v[0]+"x", v[1]))
	},
	"a volume too much": func(v []string, _ string) error { return copyFile(v[0], strings.Replace(v[0], "-001.", "-099.", 1)) },
	"a folder": func(v []string, _ string) error {
		path := pick(v)
		return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
	},
	"a pipe": func(v []string, _ string) error {
		path := pick(v)
		return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
	},
	"a large sparse file": func(v []string, _ string) error { return os.Truncate(pick(v), 1<<40) },
	"another tar archive": func(v []string, _ string) error {
		head, err := header("../../../../tmp/evil", 1<<40)
		return errors.Join(err, os.WriteFile(pick(v), head, 0o600))
	},
	"a name that leaves the folder": func(v []string, _ string) error {
		path := pick(v)
		raw, err := os.ReadFile(path)
		at := bytes.LastIndex(raw, []byte("blobs/sha256/"))
		copy(raw[at:], "../../../evil")
		return errors.Join(err, os.WriteFile(path, raw, 0o600))
	},
	"a bit of the document":   func(_ []string, document string) error { return flip(document) },
	"a short document":        func(_ []string, document string) error { return cut(document) },
	"a missing document":      func(_ []string, document string) error { return os.Remove(document) },
	"a document of that name": func(_ []string, document string) error { return os.WriteFile(document, []byte(`{"version":1}`), 0o600) },
}

func pick(v []string) string { return v[rand.IntN(len(v))] }

func flip(path string) error {
	raw, err := os.ReadFile(path)
	raw[rand.IntN(len(raw))] ^= 1 << rand.IntN(8)
	return errors.Join(err, os.WriteFile(path, raw, 0o600))
}

func cut(path string) error {
	info, err := os.Stat(path)
	return errors.Join(err, os.Truncate(path, rand.Int64N(info.Size())))
}

func copyFile(from, to string) error {
	raw, err := os.ReadFile(from)
	return errors.Join(err, os.WriteFile(to, raw, 0o600))
}

// TestDamages: each damage is found before a tag moves. Tags that it concerns stay as they were, all others are loaded, and a good copy completes
// them.
func TestDamages(t *testing.T) {
	fulltest.Long(t)
	from, good := stage(t, 8, 40_000), t.TempDir()
	before, loaded := t.TempDir(), t.TempDir()
	create(t, from, before, 0)
	load(t, loaded, before)
	old := tagsOf(t, loaded)
	for i := range 3 { // what moves
		put(t, filepath.Join(from, "app"), fmt.Sprintf("v%d", 2*i), registry.MultiArch(int64(100+i), registry.ImageOptions{LayerSize: 40_000}))
	}
	done := create(t, from, good, 200_000)
	want := tagsOf(t, from)
	rounds := fulltest.Rounds(uint64(2*len(damages)), 100)
	var names []string
	for name := range damages {
		names = append(names, name)
	}
	slices.Sort(names)
	concerned := map[bool]int{}
	for round := range rounds {
		name := names[round%uint64(len(names))]
		to, into := t.TempDir(), t.TempDir()
		must(t, errors.Join(os.CopyFS(into, os.DirFS(loaded)), os.CopyFS(to, os.DirFS(good))))
		var volumes []string
		for _, v := range done.Volumes {
			volumes = append(volumes, filepath.Join(to, v.Name))
		}
		must(t, damages[name](volumes, filepath.Join(to, filepath.Base(done.Document))))
		v, err := Verify(t.Context(), []string{to}, false)
		if err == nil && v.Whole() {
			t.Errorf("%d: %s was not found by verify", round, name)
		}
		if err == nil {
			lost := lostBy(t, done, good, to)
			for _, r := range done.Refs {
				if got := slices.Contains(v.Lost, r); got != lost[r.String()] {
					t.Errorf("%d: %s: %s is lost by verify: %t, want %t", round, name, r, got, lost[r.String()])
				}
			}
		}
		l, err := Load(t.Context(), LoadOptions{Paths: []string{to}, Into: into})
		got := tagsOf(t, into)
		if err != nil {
			if diff := cmp.Diff(old, got); diff != "" || !strings.Contains(name, "document") {
				t.Errorf("%d: %s: %v, and tags moved: %s", round, name, err, diff)
			}
		} else {
			lost := lostBy(t, done, good, to)
			if needless := name == "a missing volume" && l.Whole(); len(l.Problems) == 0 && !needless { // all of it was there already
				t.Errorf("%d: %s was not found by load", round, name)
			}
			for _, r := range done.Refs {
				key := r.Repository + ":" + r.Tag
				expected := want[key]
				if lost[r.String()] {
					expected = old[key]
				}
				concerned[lost[r.String()]]++
				if got[key] != expected {
					t.Errorf("%d: %s: %s is %s, want %s (lost: %t)", round, name, key, got[key], expected, lost[r.String()])
				}
			}
		}
		nothingTwice(t, into)
		if l := load(t, into, good); !l.Whole() || len(l.Problems) > 0 {
			t.Errorf("%d: %s: a good copy does not complete it: %v", round, name, l.Problems)
		}
		if diff := cmp.Diff(want, tagsOf(t, into)); diff != "" {
			t.Errorf("%d: %s: %s", round, name, diff)
		}
	}
	t.Logf("%d rounds: %d tags were damaged, %d were not", rounds, concerned[true], concerned[false])
	if concerned[true] == 0 || concerned[false] == 0 {
		t.Error("little was tested")
	}
}

// nothingTwice checks that nothing of the pool is in a layout too, which would take room where a file system has no links.
func nothingTwice(t *testing.T, into string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(into, stateDir, poolsDir, "*", "*"))
	must(t, err)
	for _, path := range files {
		info, err := os.Stat(path)
		must(t, err)
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
			t.Errorf("%s is in a layout too", path)
		}
	}
}

// lostBy returns the refs of which bytes differ from those of the good bundle, read without the code that loads.
func lostBy(t *testing.T, done Created, good, bad string) map[string]bool {
	t.Helper()
	s, err := openSet([]string{good}, "")
	must(t, err)
	damaged := map[image.Digest]bool{}
	for d, places := range s.places() {
		for _, p := range places {
			name := done.Volumes[p.volume].Name
			right, wrong := stretchOf(filepath.Join(good, name), p), stretchOf(filepath.Join(bad, name), p)
			if p.Size > 0 && !bytes.Equal(right, wrong) {
				damaged[d] = true
			}
		}
	}
	lost := map[string]bool{}
	for _, r := range done.Refs {
		all, _ := reach(r.descriptor(), func(d image.Digest) ([]byte, error) { return s.read(s.places()[d]) })
		lost[r.String()] = slices.ContainsFunc(all, func(p layout.Part) bool { return damaged[p.Digest] })
	}
	return lost
}

func stretchOf(path string, p place) []byte {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, p.Size)
	n, _ := f.ReadAt(b, p.at)
	return b[:n]
}

// TestCrafted: where names in a volume are not what the document lists, and all sums are right, as of somebody who wrote both, it is found, and nothing
// is written elsewhere. A length in a volume is relied on as little.
func TestCrafted(t *testing.T) {
	fulltest.Long(t)
	from := stage(t, 2, 1000)
	for name, wanted := range map[string]*tar.Header{
		"a path that leaves the folder": {Typeflag: tar.TypeReg, Name: "../../../evil", Size: 7},
		"an absolute path":              {Typeflag: tar.TypeReg, Name: filepath.Join(t.TempDir(), "evil"), Size: 7},
		"a symbolic link":               {Typeflag: tar.TypeSymlink, Name: "blobs/sha256/x", Linkname: "/etc/passwd"},
		"a hard link":                   {Typeflag: tar.TypeLink, Name: "blobs/sha256/x", Linkname: "/etc/passwd"},
		"a device":                      {Typeflag: tar.TypeChar, Name: "blobs/sha256/x"},
		"a great length":                {Typeflag: tar.TypeReg, Name: "blobs/sha256/x", Size: 7 << 30},
	} {
		to, into := t.TempDir(), t.TempDir()
		done := create(t, from, to, 0)
		path := filepath.Join(to, done.Volumes[0].Name)
		raw, err := os.ReadFile(path)
		must(t, err)
		var head bytes.Buffer
		must(t, tar.NewWriter(&head).WriteHeader(wanted))
		copy(raw[bytes.LastIndex(raw, []byte("blobs/sha256/")):], head.Bytes())
		must(t, os.WriteFile(path, raw, 0o600))
		done.Volumes[0].Digest = image.DigestOf(raw, "")
		document, err := done.encode()
		must(t, err)
		must(t, os.WriteFile(done.Document, document, 0o600))
		if v, err := Verify(t.Context(), []string{to}, false); err != nil || len(v.Problems) != 1 || len(v.Lost) > 0 {
			t.Errorf("%s: verify: %v, %v", name, v.Problems, err)
		}
		if l := load(t, into, to); len(l.Problems) != 1 || !l.Whole() {
			t.Errorf("%s: load: %v", name, l.Problems)
		}
		if diff := cmp.Diff(tagsOf(t, from), tagsOf(t, into)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestAssembledWrong: content of several volumes that does not match its digest is named, also where each volume is what the document lists.
func TestAssembledWrong(t *testing.T) {
	from, to := stage(t, 1, 200_000), t.TempDir()
	done := create(t, from, to, 150_000)
	s, err := openSet([]string{to}, "")
	must(t, err)
	wanted := image.Digest("")
	for d, places := range s.places() {
		if len(places) < 2 || wanted != "" {
			continue
		}
		wanted = d
		v := &done.Volumes[places[1].volume]
		path := filepath.Join(to, v.Name)
		raw, err := os.ReadFile(path)
		must(t, err)
		raw[places[1].at] ^= 1
		must(t, os.WriteFile(path, raw, 0o600))
		v.Digest = image.DigestOf(raw, "")
	}
	document, err := done.encode()
	must(t, err)
	must(t, os.WriteFile(done.Document, document, 0o600))
	l := load(t, t.TempDir(), to)
	if l.Whole() || len(l.Problems) != 1 || l.Problems[0].Digest != wanted || wanted == "" {
		t.Errorf("%+v, want one of %s", l.Problems, wanted)
	}
}

// TestUnreadableContent: content of a layout that cannot be read, as on a disk that fails, is taken from the volumes. What these do not have is asked for,
// and all else is loaded.
func TestUnreadableContent(t *testing.T) {
	base := registry.NewLayer(99, 1000)
	other := registry.MultiArch(100, registry.ImageOptions{LayerSize: 1000, Base: []registry.Layer{base}})
	from, to, full, delta := stage(t, 4, 1000), t.TempDir(), t.TempDir(), t.TempDir()
	create(t, from, to, 0)
	before := t.TempDir()
	load(t, before, to)
	put(t, filepath.Join(from, "app"), "v0", other)
	put(t, filepath.Join(from, "app"), "v4", registry.MultiArch(101, registry.ImageOptions{LayerSize: 1000}))
	for dir, whole := range map[string]bool{full: true, delta: false} {
		_, err := Create(t.Context(), CreateOptions{From: from, To: dir, ID: "plant-7", Full: whole, Since: 1, Tool: "test", Now: time.Unix(1e9, 0)})
		must(t, err)
	}
	harms := map[string]func(path string) error{
		"a loop": func(path string) error { return errors.Join(os.Remove(path), os.Symlink(filepath.Base(path), path)) },
	}
	if os.Getuid() != 0 { // who may read all
		harms["no rights"] = func(path string) error { return os.Chmod(path, 0) }
	}
	for name, harm := range harms {
		for _, dir := range []string{full, delta} {
			into := t.TempDir()
			must(t, os.CopyFS(into, os.DirFS(before)))
			for _, path := range []string{"app", "quay.io/tools"} {
				repo := image.Repository{Path: filepath.Join(into, path)}
				must(t, harm(layout.BlobPath(repo, image.Digest(base.Digest))))
			}
			app := image.Repository{Path: filepath.Join(into, "app")}
			d, err := layout.New().Head(app.Tag("v0"))
			must(t, err)
			must(t, harm(layout.BlobPath(app, d.Digest)))
			l := load(t, into, dir)
			if dir == full {
				must(t, os.Remove(layout.BlobPath(app, d.Digest))) // no tag needs it
				repo := image.Repository{Path: filepath.Join(into, "quay.io/tools")}
				must(t, layout.New().AdoptBlob(t.Context(), repo, image.Descriptor{Digest: image.Digest(base.Digest)}, layout.BlobPath(app, image.Digest(base.Digest)), false))
				if diff := cmp.Diff(tagsOf(t, from), tagsOf(t, into)); diff != "" || !l.Whole() || len(l.Problems) > 0 {
					t.Errorf("%s: %v: %s", name, l.Problems, diff)
				}
				continue
			}
			states := map[string]string{}
			for _, r := range l.Refs {
				states[r.String()] = r.State
			}
			if states["app:v0"] != Incomplete || states["app:v4"] != Moved || states["quay.io/tools:v1"] != Kept || len(l.Missing) != 1 || len(l.Problems) != 1 || l.Problems[0].Digest != image.Digest(base.Digest) {
				t.Errorf("%s: %v, %v, %v", name, states, l.Missing, l.Problems)
			}
		}
	}
}

// TestCopies: of several copies of a file of a bundle, one that is whole is taken, and where none is, each gives what it has.
func TestCopies(t *testing.T) {
	fulltest.Long(t)
	from, good := stage(t, 6, 40_000), t.TempDir()
	done := create(t, from, good, 100_000)
	s, err := openSet([]string{good}, "")
	must(t, err)
	first, last := done.Volumes[0].Parts[0], done.Volumes[1].Parts[len(done.Volumes[1].Parts)-1]
	if last.number == 0 {
		last = done.Volumes[1].Parts[0]
	}
	harm := func(dir string, volume int, p Part) {
		t.Helper()
		path := filepath.Join(dir, done.Volumes[volume].Name)
		raw, err := os.ReadFile(path)
		must(t, err)
		for _, at := range s.places()[p.Digest] {
			if at.Part == p {
				raw[at.at] ^= 1
			}
		}
		must(t, os.WriteFile(path, raw, 0o600))
	}
	middle := done.Volumes[0].Parts[1]
	for name, c := range map[string]struct {
		harm     func(a, b string)
		problems int
	}{
		"one damaged":            {func(a, _ string) { harm(a, 0, first) }, 0},
		"a damaged part":         {func(a, _ string) { harm(a, 1, last) }, 0},
		"each in another volume": {func(a, b string) { harm(a, 0, first); harm(b, 1, last) }, 0},
		"both":                   {func(a, b string) { harm(a, 0, first); harm(b, 0, middle) }, 2},
		"a damaged list":         {func(a, _ string) { must(t, cut(filepath.Join(a, filepath.Base(done.Document)))) }, 0},
	} {
		for _, swap := range []bool{false, true} {
			a, b, into := t.TempDir(), t.TempDir(), t.TempDir()
			must(t, errors.Join(os.CopyFS(a, os.DirFS(good)), os.CopyFS(b, os.DirFS(good))))
			c.harm(a, b)
			paths := []string{a, b, b}
			if swap {
				paths = []string{b, a}
			}
			v, err := Verify(t.Context(), paths, false)
			if err != nil || v.Whole() != (c.problems == 0) {
				t.Errorf("%s: verify: %v, %v", name, err, v.Problems)
			}
			if l := load(t, into, paths...); !l.Whole() || len(l.Problems) != c.problems {
				t.Errorf("%s: %v", name, l.Problems)
			}
			if diff := cmp.Diff(tagsOf(t, from), tagsOf(t, into)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
	// What came with a damaged volume is replaced by a copy that comes later.
	a, b, into := t.TempDir(), t.TempDir(), t.TempDir()
	must(t, errors.Join(os.CopyFS(a, os.DirFS(good)), os.CopyFS(b, os.DirFS(good))))
	for _, v := range done.Volumes[2:] {
		must(t, os.Remove(filepath.Join(a, v.Name)))
	}
	harm(a, 1, last)
	if l := load(t, into, a); l.Whole() {
		t.Error("it is whole without volumes")
	}
	if l := load(t, into, b); !l.Whole() || len(l.Problems) > 0 {
		t.Error(l.Problems)
	}
}

// TestSplitCopies: of two damaged copies of a volume, one has a good part of content that is split, and it is taken in any order of the copies. Each
// problem names its copy.
func TestSplitCopies(t *testing.T) {
	from, good := stage(t, 1, 200_000), t.TempDir()
	done := create(t, from, good, 150_000)
	s, err := openSet([]string{good}, "")
	must(t, err)
	split, other := splitOf(t, s), s.places()[done.Volumes[0].Parts[0].Digest][0]
	for _, swap := range []bool{false, true} {
		a, b, into := t.TempDir(), t.TempDir(), t.TempDir()
		must(t, errors.Join(os.CopyFS(a, os.DirFS(good)), os.CopyFS(b, os.DirFS(good))))
		flipAt(t, filepath.Join(a, done.Volumes[other.volume].Name), other.at)
		flipAt(t, filepath.Join(b, done.Volumes[split[0].volume].Name), split[0].at)
		paths := []string{a, b}
		if swap {
			paths = []string{b, a}
		}
		l := load(t, into, paths...)
		if diff := cmp.Diff(tagsOf(t, from), tagsOf(t, into)); diff != "" || !l.Whole() || len(l.Problems) != 2 {
			t.Errorf("swapped %t: %v: %s", swap, l.Problems, diff)
		}
		v, err := Verify(t.Context(), paths, false)
		must(t, err)
		for _, problems := range [][]Problem{l.Problems, v.Problems} {
			for i, dir := range paths {
				of := func(p Problem) bool { return p.File == filepath.Join(dir, done.Volumes[split[0].volume].Name) }
				if len(problems) < 2 || !of(problems[i]) {
					t.Errorf("swapped %t: %v", swap, problems)
				}
			}
		}
	}
}

// splitOf returns the places of content that begins in the first volume and ends in another.
func splitOf(t *testing.T, s *set) []place {
	t.Helper()
	parts := s.Volumes[0].Parts
	places := s.places()[parts[len(parts)-1].Digest]
	if len(parts) < 2 || len(places) < 2 {
		t.Fatalf("%d parts, of which the last is in %d volumes", len(parts), len(places))
	}
	return places
}

func flipAt(t *testing.T, path string, at int64) {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	raw[at] ^= 1
	must(t, os.WriteFile(path, raw, 0o600))
}

// TestUnreadableParts: parts of split content that cannot be read for a while are not lost. Where the medium has lost them, they are.
func TestUnreadableParts(t *testing.T) {
	from, good := stage(t, 1, 200_000), t.TempDir()
	done := create(t, from, good, 150_000)
	s, err := openSet([]string{good}, "")
	must(t, err)
	split := splitOf(t, s)
	last := split[len(split)-1]
	rest, first := t.TempDir(), t.TempDir()
	must(t, errors.Join(os.CopyFS(first, os.DirFS(good)), os.Rename(filepath.Join(first, done.Volumes[last.volume].Name), filepath.Join(rest, done.Volumes[last.volume].Name))))
	for name, c := range map[string]struct {
		harm func(partial string) error
		lost bool
	}{
		"a loop":   {func(partial string) error { return os.Symlink(filepath.Base(partial), partial) }, false},
		"a folder": {func(partial string) error { return os.Mkdir(partial, 0o700) }, false},
		"EIO":      {func(partial string) error { return os.Symlink("/proc/self/mem", partial) }, true},
	} {
		if _, err := os.Stat("/proc/self/mem"); c.lost && err != nil {
			continue
		}
		into := t.TempDir()
		load(t, into, first)
		p := pool{dir: filepath.Join(into, stateDir, poolsDir, "plant-7")}
		partial := p.path(last.Digest) + partialEnding
		must(t, errors.Join(os.Rename(partial, partial+"-away"), c.harm(partial)))
		if name != "a loop" { // a load was killed before it put them together
			must(t, os.WriteFile(p.mark(last.Part), nil, 0o600))
		}
		l, err := Load(t.Context(), LoadOptions{Paths: []string{rest}, Into: into})
		if c.lost {
			if _, left := os.Stat(p.mark(split[0].Part)); err != nil || l.Whole() || !errors.Is(left, os.ErrNotExist) {
				t.Errorf("%s: %v, %v", name, err, left)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: no error: %v", name, l.Problems)
		}
		_ = os.Remove(partial)
		_ = os.Remove(p.mark(last.Part))
		must(t, os.Rename(partial+"-away", partial))
		if l := load(t, into, rest); !l.Whole() || len(l.Problems) > 0 {
			t.Errorf("%s: parts are lost: %v", name, l.Problems)
		}
	}
}

// TestCopiesAreReadOnce: where several folders have a volume that is whole, one copy is read, and once, as where one folder has it.
func TestCopiesAreReadOnce(t *testing.T) {
	readBytes := func() (n int64) {
		raw, err := os.ReadFile("/proc/self/io")
		if err != nil {
			t.Skip("needs the count of what this process has read")
		}
		_, err = fmt.Sscanf(string(raw), "rchar: %d", &n)
		must(t, err)
		return n
	}
	from, a, b := stage(t, 2, 1_000_000), t.TempDir(), t.TempDir()
	create(t, from, a, 0)
	must(t, os.CopyFS(b, os.DirFS(a)))
	for name, do := range map[string]func(paths ...string){
		"verify": func(paths ...string) {
			v, err := Verify(t.Context(), paths, false)
			must(t, err)
			if !v.Whole() {
				t.Error(v.Problems)
			}
		},
		"load": func(paths ...string) { load(t, t.TempDir(), paths...) },
	} {
		begin := readBytes()
		do(a)
		one := readBytes() - begin
		do(a, b)
		if two := readBytes() - begin - one; two > one+500_000 {
			t.Errorf("%s: %d bytes were read of two copies, and %d of one", name, two, one)
		}
	}
}
