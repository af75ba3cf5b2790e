package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// airgap is a registry, a disk, and a registry at the far side.
type airgap struct {
	near, far *registry.Registry
	disk      string
	out, in   string // configs
}

func newAirgap(t *testing.T, tags int) *airgap {
	t.Helper()
	g := &airgap{near: registry.New(registry.Options{}), far: registry.New(registry.Options{}), disk: filepath.Join(t.TempDir(), "disk")}
	for i := range tags {
		if err := registry.MultiArch(int64(i), registry.ImageOptions{LayerSize: 20_000}).Push(g.near, "app", fmt.Sprintf("v%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	near, far := start(t, g.near), start(t, g.far)
	g.out = writeConfig(t, "mappings:", mapping("name: out, source: '%s/app', target: 'ocidir://%s', tags: ['*'], referrers: false", near, g.disk))
	g.in = writeConfig(t, "mappings:", mapping("name: in, source: 'ocidir://%s', target: '%s/app', tags: ['*'], referrers: false", g.disk, far))
	return g
}

// files are those of the disk, with their sizes.
func (g *airgap) files(t *testing.T) map[string]int64 {
	t.Helper()
	files := map[string]int64{}
	err := filepath.WalkDir(filepath.Join(g.disk, "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		files[path] = info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// far side and near side hold the same.
func (g *airgap) equal(t *testing.T, tags int) {
	t.Helper()
	if n := len(g.far.Tags("app")); n != tags {
		t.Errorf("%d tags of %d have arrived", n, tags)
	}
	for _, tag := range g.far.Tags("app") {
		if g.far.Digest("app", tag) != g.near.Digest("app", tag) {
			t.Errorf("%s differs", tag)
		}
		if err := g.far.Whole("app", g.far.Digest("app", tag)); err != nil {
			t.Error(err)
		}
	}
}

func done(t *testing.T, args ...string) answer {
	t.Helper()
	a := dray(t, args...)
	if a.code != exitDone {
		t.Fatalf("%v: exit code %d\n%s\n%s", args, a.code, a.out, a.err)
	}
	return a
}

// TestAirGap carries sixty tags out to a disk and in at the far side; a second trip after one tag has moved writes its new blobs only, and
// what the old one had is removed by gc. Other programs read the disk.
func TestAirGap(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	const tags = 60
	g := newAirgap(t, tags)
	done(t, "sync", "-c", g.out)
	done(t, "sync", "-c", g.in)
	g.equal(t, tags)
	before := g.files(t)
	moved := registry.MultiArch(999, registry.ImageOptions{LayerSize: 20_000})
	if err := moved.Push(g.near, "app", "v7"); err != nil {
		t.Fatal(err)
	}
	done(t, "sync", "-c", g.out)
	written := int64(0)
	news := 0
	for path, size := range g.files(t) {
		if _, ok := before[path]; !ok {
			written += size
			news++
		}
	}
	manifests := int64(0)
	for _, m := range moved.Manifests {
		manifests += int64(len(m.Body))
	}
	if news != len(moved.Blobs)+len(moved.Manifests) || written != moved.Size()+manifests {
		t.Errorf("%d files of %d bytes were written, the image has %d of %d", news, written, len(moved.Blobs)+len(moved.Manifests), moved.Size()+manifests)
	}
	done(t, "sync", "-c", g.in)
	g.equal(t, tags)
	if a := done(t, "layout", "gc", g.disk, "--grace", "0s"); !strings.Contains(a.out, fmt.Sprintf("%d files of ", news)) {
		t.Errorf("%s, want %d files removed", a.out, news)
	}
	if a := done(t, "layout", "verify", g.disk); !strings.Contains(a.out, "whole; 60 tags") || !strings.Contains(a.out, "0 files of 0 B that no tag needs") {
		t.Error(a.out)
	}
	if len(g.files(t)) != len(before) {
		t.Errorf("%d files, and %d before the tag moved", len(g.files(t)), len(before))
	}
	g.readable(t, "v7", "v0")
}

// readable has skopeo copy tags off the disk, and crane push the layout with one of them: every blob is read by others.
func (g *airgap) readable(t *testing.T, tags ...string) {
	t.Helper()
	if !fulltest.Enabled() {
		return
	}
	skopeo, crane := fulltest.Program(t, "skopeo", "Debian's package skopeo"), fulltest.Program(t, "crane", "it as .ci/run does")
	for _, tag := range tags {
		out, err := exec.Command(skopeo, "copy", "--quiet", "--all", "--insecure-policy", "oci:"+g.disk+":"+tag, "dir:"+filepath.Join(t.TempDir(), "copy")).CombinedOutput()
		if err != nil {
			t.Errorf("skopeo cannot read %s: %v\n%s", tag, err, out)
		}
	}
	host := start(t, registry.New(registry.Options{}))
	if out, err := exec.Command(crane, "push", "--index", "--insecure", g.disk, host+"/disk:all").CombinedOutput(); err != nil {
		t.Errorf("crane cannot read the disk: %v\n%s", err, out)
	}
}

// TestBrokenDisk finds what happened to the disk on its way before a tag moves at the far side, and by verify.
func TestBrokenDisk(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(t *testing.T, g *airgap, blob string){
		"a flipped byte": func(t *testing.T, _ *airgap, blob string) {
			raw, err := os.ReadFile(blob)
			if err != nil {
				t.Fatal(err)
			}
			raw[len(raw)/2] ^= 0xff
			if err := os.WriteFile(blob, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a missing blob": func(t *testing.T, _ *airgap, blob string) {
			if err := os.Remove(blob); err != nil {
				t.Fatal(err)
			}
		},
		"a truncated index.json": func(t *testing.T, g *airgap, _ string) {
			if err := os.Truncate(filepath.Join(g.disk, "index.json"), 100); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newAirgap(t, 1)
			done(t, "sync", "-c", g.out)
			blob, largest := "", int64(0)
			for path, size := range g.files(t) {
				if size > largest {
					blob, largest = path, size
				}
			}
			whole := len(g.files(t))
			harm(t, g, blob)
			if a := dray(t, "sync", "-c", g.in); a.code == exitDone || len(g.far.Tags("app")) > 0 {
				t.Errorf("exit code %d, tags %v\n%s", a.code, g.far.Tags("app"), a.out)
			}
			if a := dray(t, "layout", "verify", g.disk); a.code != exitFailed || !strings.Contains(a.out+a.err, "dray layout repair") {
				t.Errorf("exit code %d\n%s%s", a.code, a.out, a.err)
			}
			done(t, "layout", "repair", g.disk)
			doc, _ := drayJSON(t, "sync", "-c", g.out)
			if again := doc.Totals.Bytes; again > largest || doc.Totals.Import != 1 || len(g.files(t)) != whole {
				t.Errorf("%d bytes were brought again, at most %d were broken: %+v", again, largest, doc.Totals)
			}
			done(t, "layout", "verify", g.disk)
			done(t, "sync", "-c", g.in)
			g.equal(t, 1)
		})
	}
}

// TestFullDisk fills the disk: no tag is moved to what did not fit, what is there is whole, and the sync goes on once there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	fulltest.Long(t)
	g := newAirgap(t, 60) // 2.4 MB and some, of which 8 images are under way at a time
	if err := os.Mkdir(g.disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", g.disk, "tmpfs", 0, "size=1200k"); err != nil {
		t.Skipf("needs the right to mount a disk of its own: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(g.disk, syscall.MNT_DETACH) })
	a := dray(t, "sync", "-c", g.out)
	if a.code != exitPartly || !strings.Contains(a.out+a.err, "no space left on device") {
		t.Fatalf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
	if !strings.Contains(a.out+a.err, "target") || !strings.Contains(a.out+a.err, g.disk) {
		t.Errorf("it does not say where:\n%s\n%s", a.out, a.err)
	}
	survey := done(t, "layout", "verify", g.disk)
	if left, _ := filepath.Glob(filepath.Join(g.disk, ".dray-tmp", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	t.Logf("%s", survey.out)
	g.readable(t)
	done(t, "sync", "-c", g.in) // what fitted is brought in
	if n := len(g.far.Tags("app")); n == 0 || n >= 30 {
		t.Errorf("%d tags of 60 on a disk with room for about 17", n)
	}
	if err := syscall.Mount("tmpfs", g.disk, "tmpfs", syscall.MS_REMOUNT, "size=10m"); err != nil {
		t.Fatal(err)
	}
	done(t, "sync", "-c", g.out)
	done(t, "sync", "-c", g.in)
	g.equal(t, 60)
}

// child starts dray as a process of its own.
func child(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = []string{asDray + "=1", "HOME=" + t.TempDir()}
	return c
}

// killed runs dray as a process and kills it by SIGKILL after a while, unless it is through before.
func killed(t *testing.T, after time.Duration, args ...string) {
	t.Helper()
	c := child(t, args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(after, func() { _ = c.Process.Kill() }).Stop()
	_ = c.Wait() // it was killed, or was through
}

// TestSyncToDiskKilled kills the sync that writes the disk with SIGKILL, at moments spread over all of it: the disk is whole after each,
// also in the eyes of others, and the last sync completes it.
func TestSyncToDiskKilled(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	const tags = 20
	rounds := int(fulltest.Rounds(3, 25)) //nolint:gosec // a small number
	g := newAirgap(t, tags)
	took := time.Now()
	if out, err := child(t, "sync", "-c", g.out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole := time.Since(took)
	cut := 0
	for round := range rounds {
		for i := range tags {
			if err := registry.MultiArch(int64(1000*(round+1)+i), registry.ImageOptions{LayerSize: 20_000}).Push(g.near, "app", fmt.Sprintf("v%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		killed(t, rand.N(whole), "sync", "-c", g.out)
		if a := done(t, "layout", "verify", g.disk); !strings.Contains(a.out, "whole; 20 tags") {
			t.Error(a.out)
		}
		if a := done(t, "plan", "-c", g.out); !strings.Contains(a.out, "Plan: 0 to import") {
			cut++
		}
		if round%8 == 0 {
			g.readable(t, "v0", "v19")
		}
	}
	t.Logf("a sync takes %s; of %d that were killed %d were not through", whole.Round(time.Millisecond), rounds, cut)
	done(t, "sync", "-c", g.out)
	done(t, "sync", "-c", g.in)
	g.equal(t, tags)
	g.readable(t, "v0", "v19")
}

// TestTwoWriters has a sync find that another process writes to the disk: it says which, and does not touch it.
func TestTwoWriters(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	g := newAirgap(t, 1)
	done(t, "sync", "-c", g.out)
	before := g.files(t)
	lock, err := os.OpenFile(filepath.Join(g.disk, ".dray-lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // once the sync above has been quiet
		t.Fatal(err)
	}
	if err := os.WriteFile(lock.Name(), []byte("process 4711 on elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := registry.MultiArch(6, registry.ImageOptions{LayerSize: 20_000}).Push(g.near, "app", "v0"); err != nil {
		t.Fatal(err)
	}
	a := dray(t, "sync", "-c", g.out)
	if a.code != exitPartly || !strings.Contains(a.out+a.err, g.disk+" is being written by process 4711 on elsewhere") {
		t.Errorf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
	if a := dray(t, "layout", "gc", g.disk); a.code != exitFailed || !strings.Contains(a.err, "process 4711") {
		t.Errorf("exit code %d\n%s\n%s", a.code, a.out, a.err)
	}
	t.Log(a.out)
	if after := g.files(t); len(after) != len(before) {
		t.Errorf("%d files, %d before", len(after), len(before))
	}
	done(t, "layout", "verify", g.disk) // reading needs no lock
}

// TestGCKilled kills gc with SIGKILL at random moments, after a sync has replaced all: the disk is whole after each.
func TestGCKilled(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	g := newAirgap(t, 20)
	for round := range int(fulltest.Rounds(3, 20)) { //nolint:gosec // a small number
		for i := range 20 {
			if err := registry.MultiArch(int64(1000*round+i), registry.ImageOptions{LayerSize: 20_000}).Push(g.near, "app", fmt.Sprintf("v%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		// A process of its own gives the disk back as it ends.
		if out, err := child(t, "sync", "-c", g.out).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		killed(t, rand.N(30*time.Millisecond), "layout", "gc", g.disk, "--grace", "0s")
		done(t, "layout", "verify", g.disk)
	}
	g.readable(t, "v0", "v19")
}
