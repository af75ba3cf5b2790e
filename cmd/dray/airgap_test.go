package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
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

// readable has other programs read tags of the disk.
func (g *airgap) readable(t *testing.T, tags ...string) {
	t.Helper()
	program, err := exec.LookPath("skopeo")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("skopeo is not installed")
	}
	for _, tag := range tags {
		if out, err := exec.Command(program, "inspect", "--raw", "oci:"+g.disk+":"+tag).CombinedOutput(); err != nil {
			t.Errorf("skopeo cannot read %s: %v\n%s", tag, err, out)
		}
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
			harm(t, g, blob)
			if a := dray(t, "sync", "-c", g.in); a.code == exitDone || len(g.far.Tags("app")) > 0 {
				t.Errorf("exit code %d, tags %v\n%s", a.code, g.far.Tags("app"), a.out)
			}
			if a := dray(t, "layout", "verify", g.disk); a.code != exitFailed {
				t.Errorf("exit code %d\n%s%s", a.code, a.out, a.err)
			}
		})
	}
}

// TestGCKilled kills gc with SIGKILL at random moments, beside a sync that writes: the disk is whole after each.
func TestGCKilled(t *testing.T) {
	t.Parallel()
	g := newAirgap(t, 20)
	done(t, "sync", "-c", g.out)
	for round := range 20 {
		for i := range 20 {
			if err := registry.MultiArch(int64(1000*round+i), registry.ImageOptions{LayerSize: 20_000}).Push(g.near, "app", fmt.Sprintf("v%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		done(t, "sync", "-c", g.out)
		c := exec.Command(os.Args[0], "layout", "gc", g.disk, "--grace", "0s")
		c.Env = []string{asDray + "=1", "HOME=" + t.TempDir()}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(30 * time.Millisecond))
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed, or was through
		done(t, "layout", "verify", g.disk)
	}
	g.readable(t, "v0", "v19")
}
