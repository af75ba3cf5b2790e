package main

import (
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// tagsIn are the tags of a layout, with their digests.
func tagsIn(t *testing.T, dir string) map[string]image.Digest {
	t.Helper()
	store, repo, tags := layout.New(), image.Repository{Path: dir}, map[string]image.Digest{}
	names, err := store.Tags(repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		d, err := store.Head(repo.Tag(name))
		if err != nil {
			t.Fatal(err)
		}
		tags[name] = d.Digest
	}
	return tags
}

// bundled makes a bundle and returns its document.
func bundled(t *testing.T, args ...string) createdBundle {
	t.Helper()
	var doc createdBundle
	if err := json.Unmarshal([]byte(done(t, append([]string{"bundle", "create", "-o", "json"}, args...)...).out), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestBundle carries sixty tags as volumes of a given size, which arrive one after another in any order, into a registry at the far side.
func TestBundle(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	const tags = 60
	g := newAirgap(t, tags)
	done(t, "sync", "-c", g.out)
	stick, near := t.TempDir(), g.disk
	doc := bundled(t, "--from", near, "--to", stick, "--volume-size", "256k", "--id", "plant-7")
	if len(doc.Volumes) < 8 || doc.Bundle != "plant-7-0001" || doc.Tags != tags {
		t.Fatalf("%+v", doc)
	}
	if a := done(t, "bundle", "verify", stick); !strings.Contains(a.out, "plant-7-0001: whole; 60 tags") || !strings.Contains(a.out, string(doc.SHA256)) {
		t.Error(a.out)
	}
	g.disk = filepath.Join(t.TempDir(), "far")
	rand.Shuffle(len(doc.Volumes), func(i, j int) { doc.Volumes[i], doc.Volumes[j] = doc.Volumes[j], doc.Volumes[i] })
	for i, name := range doc.Volumes {
		one := t.TempDir()
		names := []string{name}
		if i == 0 {
			names = append(names, filepath.Base(doc.Document))
		}
		for _, name := range names {
			if err := os.Rename(filepath.Join(stick, name), filepath.Join(one, name)); err != nil {
				t.Fatal(err)
			}
		}
		a := dray(t, "bundle", "load", one, "--into", g.disk)
		if last := i == len(doc.Volumes)-1; last != (a.code == exitDone) || !last && a.code != exitPartly {
			t.Errorf("volume %d of %d: exit code %d\n%s%s", i+1, len(doc.Volumes), a.code, a.out, a.err)
		}
		if i == 0 && !strings.Contains(a.out, "plant-7-0001-request.json") {
			t.Error(a.out)
		}
	}
	if near, far := tagsIn(t, near), tagsIn(t, g.disk); len(far) != tags || fmt.Sprint(near) != fmt.Sprint(far) {
		t.Errorf("%d tags have arrived, or they differ", len(far))
	}
	done(t, "layout", "verify", g.disk)
	if a := done(t, "layout", "gc", "--grace", "0s", "--dry-run", g.disk); !strings.Contains(a.out, " 0 files of 0 B would") {
		t.Error(a.out)
	}
	g.delta(t, near)
	done(t, "layout", "verify", g.disk)
	text, err := os.ReadFile(g.in)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.in, []byte(strings.Replace(string(text), near, g.disk, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	done(t, "sync", "-c", g.in)
	g.equal(t, tags)
}

// delta moves a tag at the near side, of which the far side has acknowledged all before: the next bundle has its blobs and all manifests.
func (g *airgap) delta(t *testing.T, near string) {
	t.Helper()
	far, stick := g.disk, t.TempDir()
	var receipt receiptAnswer
	if err := json.Unmarshal([]byte(done(t, "bundle", "receipt", far, "--id", "plant-7", "-o", "json").out), &receipt); err != nil {
		t.Fatal(err)
	}
	done(t, "bundle", "ack", receipt.Code, "--from", near, "--id", "plant-7")
	moved := registry.MultiArch(999, registry.ImageOptions{LayerSize: 20_000})
	if err := moved.Push(g.near, "app", "v7"); err != nil {
		t.Fatal(err)
	}
	done(t, "sync", "-c", g.out)
	doc := bundled(t, "--from", near, "--to", stick, "--id", "plant-7")
	if doc.Base != "plant-7-0001" || len(doc.Changes.Moved) != 1 || doc.Changes.Moved[0].Tag != "v7" || len(doc.Changes.Added)+len(doc.Changes.Removed) > 0 {
		t.Errorf("%+v", doc)
	}
	manifests, tags := int64(0), tagsIn(t, near)
	for tag := range tags {
		d, err := layout.New().Head(image.Repository{Path: near}.Tag(tag))
		if err != nil {
			t.Fatal(err)
		}
		index, err := os.ReadFile(layout.BlobPath(image.Repository{Path: near}, d.Digest))
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Manifests []struct{ Size int64 } }
		if err := json.Unmarshal(index, &doc); err != nil {
			t.Fatal(err)
		}
		manifests += d.Size
		for _, m := range doc.Manifests {
			manifests += m.Size
		}
	}
	if doc.Changes.Bytes != moved.Size()+manifests {
		t.Errorf("the bundle has %d bytes of content, want %d of blobs and %d of manifests", doc.Changes.Bytes, moved.Size(), manifests)
	}
	if a := dray(t, "bundle", "verify", stick); a.code != exitPartly || !strings.Contains(a.out, "whole if the far side has plant-7-0001") {
		t.Errorf("exit code %d\n%s%s", a.code, a.out, a.err)
	}
	if a := done(t, "bundle", "load", stick, "--into", far); !strings.Contains(a.out, "plant-7-0002: 1 tag loaded, 59 kept, 0 incomplete") || !strings.Contains(a.out, "~ v7 ") {
		t.Error(a.out)
	}
	if near, far := fmt.Sprint(tags), fmt.Sprint(tagsIn(t, far)); near != far {
		t.Errorf("the far side has %s, want %s", far, near)
	}
}

// TestBundleKilled kills the creation of bundles and their loading with SIGKILL, at moments spread over all of it. The far layout is whole after each, and
// what is called again completes it.
func TestBundleKilled(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	const tags = 10
	g := newAirgap(t, tags)
	far := filepath.Join(t.TempDir(), "far")
	var making, loading time.Duration
	cut := map[string]int{}
	for round := range 1 + int(fulltest.Rounds(3, 50)) { //nolint:gosec // a small number
		for i := range 3 {
			if err := registry.MultiArch(int64(1000*(round+1)+i), registry.ImageOptions{LayerSize: 500_000}).Push(g.near, "app", fmt.Sprintf("v%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		done(t, "sync", "-c", g.out)
		stick := t.TempDir()
		create := []string{"--from", g.disk, "--to", stick, "--volume-size", "1m"}
		if round > 0 {
			killed(t, rand.N(making), append([]string{"bundle", "create"}, create...)...)
			if left, _ := filepath.Glob(filepath.Join(stick, "*.json")); len(left) == 0 {
				cut["create"]++
			}
		}
		begun := time.Now()
		doc := bundled(t, create...)
		making = max(making, time.Since(begun))
		done(t, "bundle", "verify", doc.Document)
		load := []string{"bundle", "load", doc.Document, "--into", far}
		if round > 0 {
			killed(t, rand.N(loading), load...)
			done(t, "layout", "verify", far)
			if fmt.Sprint(tagsIn(t, far)) != fmt.Sprint(tagsIn(t, g.disk)) {
				cut["load"]++
			}
		}
		begun = time.Now()
		done(t, load...)
		loading = max(loading, time.Since(begun))
		done(t, "layout", "verify", far)
		if near, far := fmt.Sprint(tagsIn(t, g.disk)), fmt.Sprint(tagsIn(t, far)); near != far {
			t.Fatalf("round %d: the far side has %s, want %s", round, far, near)
		}
		if left, _ := filepath.Glob(filepath.Join(far, ".dray-bundle", "pool")); len(left) > 0 {
			t.Errorf("round %d: left behind: %q", round, left)
		}
	}
	t.Logf("to create takes %s, to load %s; cut off: %v", making.Round(time.Millisecond), loading.Round(time.Millisecond), cut)
}

// TestBundleTooLarge: where a medium takes no file of a volume's size, the error says what helps.
func TestBundleTooLarge(t *testing.T) {
	err := notCreated(fmt.Errorf("create: %w", &os.PathError{Op: "write", Path: "/stick/a.tar", Err: syscall.EFBIG}))
	if text := err.Error(); !strings.Contains(text, "/stick/a.tar: file too large") || !strings.Contains(text, "--volume-size fat32") {
		t.Error(text)
	}
	if text := notCreated(&os.PathError{Op: "write", Path: "/stick/a.tar", Err: syscall.ENOSPC}).Error(); !strings.Contains(text, "/stick/a.tar: no space left") || !strings.Contains(text, "several media") {
		t.Error(text)
	}
	if text := notCreated(os.ErrPermission).Error(); strings.Contains(text, "volume-size") {
		t.Error(text)
	}
}

// sshKeys writes a private key of SSH and its public key, and returns their paths.
func sshKeys(t *testing.T, dir string) (private, public string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private = filepath.Join(dir, "id_ed25519")
	public = private + ".pub"
	for path, text := range map[string][]byte{private: pem.EncodeToMemory(block), public: ssh.MarshalAuthorizedKey(signer.PublicKey())} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return private, public
}

// TestBundleSign: bundles and receipts that are signed as they are made count with the public key, also those whose making was interrupted.
func TestBundleSign(t *testing.T) {
	t.Parallel()
	stage, stick, far := staged(t, "app"), t.TempDir(), t.TempDir()
	private, public := sshKeys(t, t.TempDir())
	_, other := sshKeys(t, t.TempDir())
	create := []string{"--from", stage, "--to", stick, "--sign", private}
	doc := bundled(t, create...)
	if a := done(t, "bundle", "verify", stick, "--key", public); !strings.Contains(a.out, "signed by a key of "+public) {
		t.Error(a.out)
	}
	for _, path := range []string{filepath.Join(stage, ".dray-bundle", "sent", filepath.Base(doc.Document)), doc.Document + ".sig"} { // as if it had been killed there
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if again := bundled(t, create...); again.SHA256 != doc.SHA256 {
		t.Errorf("%+v, want %+v", again, doc)
	}
	if a := dray(t, "bundle", "load", stick, "--into", far, "--key", other); a.code != exitFailed || !strings.Contains(a.err, "signed by none of the keys") {
		t.Errorf("%d: %s", a.code, a.err)
	}
	done(t, "bundle", "load", stick, "--into", far, "--key", public)
	receipt := filepath.Join(t.TempDir(), "receipt.json")
	if a := dray(t, "bundle", "receipt", far, "--sign", private); a.code != exitUsage {
		t.Errorf("20 characters: %d %s", a.code, a.err)
	}
	done(t, "bundle", "receipt", far, "--out", receipt, "--sign", private)
	if a := dray(t, "bundle", "ack", receipt, "--from", stage, "--key", other); a.code != exitFailed {
		t.Errorf("%d: %s", a.code, a.err)
	}
	done(t, "bundle", "ack", receipt, "--from", stage, "--key", public)
	for _, key := range []string{public, filepath.Join(stick, "missing")} {
		if a := dray(t, "bundle", "create", "--from", stage, "--to", stick, "--sign", key); a.code != exitUsage {
			t.Errorf("%s: %d %s", key, a.code, a.err)
		}
	}
}

// TestBundleReadByNodes: podman and containerd read a bundle of one volume without dray, with the same digests.
func TestBundleReadByNodes(t *testing.T) {
	podman, containerd, ctr := fulltest.Program(t, "podman", "Debian's package podman"), fulltest.Program(t, "containerd", "containerd"), fulltest.Program(t, "ctr", "containerd")
	g := newAirgap(t, 3)
	done(t, "sync", "-c", g.out)
	stick, one, single := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "single")
	several := filepath.Join(stick, bundled(t, "--from", g.disk, "--to", stick).Volumes[0])
	done(t, "import", "ocidir://"+g.disk+":v1", "ocidir://"+single+":v1")
	alone := filepath.Join(one, bundled(t, "--from", single, "--to", one).Volumes[0])
	home := shortDir(t)
	call := func(program string, args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), program, args...)
		c.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%s %q: %v\n%s", program, args, err, out)
		}
		return string(out)
	}
	store := []string{"--root", filepath.Join(home, "root"), "--runroot", filepath.Join(home, "run"), "--storage-driver", "vfs"}
	tags := tagsIn(t, g.disk)
	call(podman, append(store, "pull", "--quiet", "oci-archive:"+several+":v2")...)
	call(podman, append(store, "load", "--input", alone)...)
	images := call(podman, append(store, "images", "--digests")...)
	for _, tag := range []string{"v1", "v2"} {
		if !strings.Contains(images, string(tags[tag])) {
			t.Errorf("podman has no %s (%s):\n%s", tag, tags[tag], images)
		}
	}
	socket := containerdIn(t, containerd)
	call(ctr, "--address", socket, "images", "import", "--all-platforms", "--no-unpack", "--base-name", "plant.example/app", several)
	images = call(ctr, "--address", socket, "images", "list")
	for tag, digest := range tags {
		if !slices.ContainsFunc(strings.Split(images, "\n"), func(line string) bool {
			return strings.HasPrefix(line, "plant.example/app:"+tag+" ") && strings.Contains(line, string(digest))
		}) {
			t.Errorf("containerd has no %s (%s):\n%s", tag, digest, images)
		}
	}
}
