package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/image"
)

func TestManifests(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	m := manifest(1, 100)
	long := manifest(2, 100)
	long.Digest = image.DigestOf(long.Raw, "sha512:"+image.Digest(strings.Repeat("a", 128)))
	for _, m := range []image.Manifest{m, long} {
		if kept(t, s, m) {
			t.Fatal("kept before it was put")
		}
		must(t, s.PutManifest(ctx, m))
		must(t, s.PutManifest(ctx, m))
	}
	must(t, s.Close())
	s = d.open(t)
	for _, want := range []image.Manifest{m, long} {
		got, ok, err := s.Manifest(ctx, want.Digest)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Error(ok, diff)
		}
	}
	if _, ok, err := s.Manifest(ctx, "sha256:x"); ok || err != nil {
		t.Error(ok, err)
	}
}

func TestManifestRefused(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	other, size, kind, large, empty, bare := manifest(1, 10), manifest(2, 10), manifest(3, 10), manifest(4, maxManifest), manifest(5, 1), manifest(6, 1)
	other.Digest = digest(0)
	size.Size++
	kind.MediaType = strings.Repeat("x", 256)
	empty.Raw = nil
	bare.Digest = "sha256:12"
	for name, tt := range map[string]struct {
		m       image.Manifest
		corrupt bool
	}{"digest": {other, true}, "size": {size, true}, "media type": {kind, false}, "large": {large, true}, "empty": {empty, true}, "no digest": {bare, false}} {
		t.Run(name, func(t *testing.T) {
			if err := s.PutManifest(t.Context(), tt.m); err == nil || errors.Is(err, image.ErrCorrupt) != tt.corrupt {
				t.Error(err)
			}
		})
	}
}

func TestManifestDamaged(t *testing.T) {
	for name, sql := range map[string]string{
		"other bytes": "UPDATE manifests SET raw = substr(raw, 2)",
		"too large":   "UPDATE manifests SET raw = $1",
		"empty":       "UPDATE manifests SET raw = substr(raw, 1, 0)",
	} {
		t.Run(name, func(t *testing.T) {
			d := newStand(t)
			s, m := d.open(t), manifest(1, 10)
			must(t, s.PutManifest(t.Context(), m))
			var args []any
			if name == "too large" {
				args = append(args, make([]byte, 9_000_000))
			}
			_, err := s.writer.Exec(sql, args...)
			must(t, err)
			if kept(t, s, m) || !strings.Contains(d.log.String(), string(m.Digest)) {
				t.Error("a damaged manifest was returned or not reported: " + d.log.String())
			}
			var rows int
			must(t, s.reader.QueryRow("SELECT count(*) FROM manifests").Scan(&rows))
			if rows != 0 {
				t.Error("it was not dropped")
			}
			must(t, s.PutManifest(t.Context(), m))
			if !kept(t, s, m) {
				t.Error("it was not kept anew")
			}
		})
	}
}

func TestBlobHolders(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	holders := func(registry string, i int) []image.Repository {
		t.Helper()
		got, err := s.BlobHolders(ctx, registry, digest(i))
		must(t, err)
		return got
	}
	for i := range 6 {
		d.pass(time.Minute)
		must(t, s.AddBlobs(ctx, repo(fmt.Sprint("r", i)), digests(0, 3), i != 4))
	}
	other := image.Repository{Registry: "other.test", Path: "r"}
	must(t, s.AddBlobs(ctx, other, digests(0, 1), true))
	if diff := cmp.Diff([]image.Repository{repo("r5"), repo("r3"), repo("r2"), repo("r1")}, holders("target.test:5000", 0)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]image.Repository{other}, holders("other.test", 0)); diff != "" {
		t.Error(diff)
	}
	must(t, s.AddBlobs(ctx, repo("r4"), nil, true))
	must(t, s.AddBlobs(ctx, repo("r4"), nil, false)) // what is committed stays so
	must(t, s.Forget(ctx, repo("r5")))
	must(t, s.Forget(ctx, repo("r3"), digest(0), "sha256:x"))
	if diff := cmp.Diff([]image.Repository{repo("r4"), repo("r2"), repo("r1"), repo("r0")}, holders("target.test:5000", 0)); diff != "" {
		t.Error(diff)
	}
	if got := holders("target.test:5000", 1)[1]; got != repo("r3") {
		t.Errorf("another blob was forgotten: %v", got)
	}
	if len(holders("", 0))+len(holders("third.test", 0))+len(holders("other.test", 1)) != 0 {
		t.Error("holders from nowhere")
	}
}

func TestHolds(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	must(t, s.AddBlobs(ctx, repo("a"), digests(0, 2500), false))
	must(t, s.AddBlobs(ctx, repo("b"), digests(5000, 5001), true))
	must(t, s.Forget(ctx, repo("a"), digests(1000, 2100)...))
	got, err := s.Holds(ctx, repo("a"), append(digests(500, 5001), `x"],["`, ""))
	must(t, err)
	want := map[image.Digest]bool{}
	for _, d := range append(digests(500, 1000), digests(2100, 2500)...) {
		want[d] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	must(t, s.Forget(ctx, repo("a")))
	if held(t, s, repo("a"), digests(0, 10)...) != 0 || held(t, s, repo("b"), digest(5000)) != 1 {
		t.Error("the wrong repository was forgotten")
	}
	var rows int
	must(t, s.reader.QueryRow("SELECT count(*) FROM blobs").Scan(&rows))
	if rows != 1 {
		t.Errorf("%d rows are left", rows)
	}
}

func TestRepositoriesRefused(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	layout := image.Repository{Path: "stage"}
	must(t, s.AddBlobs(ctx, layout, digests(0, 1), true))
	must(t, s.Forget(ctx, layout))
	must(t, s.PutReferrersSeen(ctx, layout, digest(0)))
	if held(t, s, layout, digest(0)) != 0 {
		t.Error("a layout was remembered")
	}
	for _, r := range []image.Repository{{}, {Registry: "h.test"}, {Registry: "h.test", Path: "a/../b"}, {Registry: "h.test", Path: "a?x"},
		{Registry: "h test", Path: "a"}, {Registry: "h.test", Path: strings.Repeat("a", 256)}, {Registry: "h.test", Path: "/a"}, {Registry: "u@h.test", Path: "a"}} {
		if err := s.AddBlobs(ctx, r, digests(0, 1), true); err == nil {
			t.Errorf("%q was accepted", r)
		}
	}
	if err := s.AddBlobs(ctx, repo("a"), []image.Digest{digest(0), `sha256:"`}, true); err == nil || held(t, s, repo("a"), digest(0)) != 0 {
		t.Error("half of the blobs were noted", err)
	}
	must(t, s.AddBlobs(ctx, repo("a"), digests(0, 1), true))
	if _, err := s.writer.Exec("UPDATE repositories SET path = 'a?from=b'"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.BlobHolders(ctx, repo("a").Registry, digest(0)); len(got) != 0 || err != nil {
		t.Errorf("a holder that is no repository: %v %v", got, err)
	}
}

func TestSelected(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	must(t, s.PutSelected(ctx, digest(1), "linux/amd64", digest(2)))
	must(t, s.PutSelected(ctx, digest(1), "linux/amd64", digest(3)))
	must(t, s.PutSelected(ctx, digest(1), "linux/arm64", digest(4)))
	for platforms, want := range map[string]image.Digest{"linux/amd64": digest(3), "linux/arm64": digest(4), "": ""} {
		if got, ok, err := s.Selected(ctx, digest(1), platforms); got != want || ok != (want != "") || err != nil {
			t.Errorf("%q: %v %v %v", platforms, got, ok, err)
		}
	}
	if s.PutSelected(ctx, "x", "p", digest(1)) == nil || s.PutSelected(ctx, digest(1), "p", "x") == nil || s.PutSelected(ctx, digest(1), strings.Repeat("p", 5000), digest(1)) == nil {
		t.Error("nonsense was kept")
	}
	if _, err := s.writer.Exec("UPDATE selections SET target = 'sha256:gone'"); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := s.Selected(ctx, digest(1), "linux/amd64"); ok || err != nil {
		t.Errorf("what is no digest was returned: %v %v", got, err)
	}
}

func TestReferrersSeen(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	seen := func(r image.Repository, i int) time.Time {
		t.Helper()
		at, ok, err := s.ReferrersSeen(ctx, r, digest(i))
		must(t, err)
		if ok == at.IsZero() {
			t.Error(ok, at)
		}
		return at
	}
	must(t, s.PutReferrersSeen(ctx, repo("a"), digest(1)))
	first := d.Now()
	d.pass(time.Hour)
	if got := seen(repo("a"), 1); !got.Equal(first) {
		t.Error(got)
	}
	must(t, s.PutReferrersSeen(ctx, repo("a"), digest(1)))
	if got := seen(repo("a"), 1); !got.Equal(d.Now()) {
		t.Error(got)
	}
	if !seen(repo("b"), 1).IsZero() || !seen(repo("a"), 2).IsZero() {
		t.Error("seen what nobody looked at")
	}
	if holders, err := s.BlobHolders(ctx, repo("a").Registry, digest(1)); len(holders) != 0 || err != nil {
		t.Error("looking at referrers is no commit", holders, err)
	}
	d.pass(-time.Minute)
	if !seen(repo("a"), 1).IsZero() {
		t.Error("a look in the future counts")
	}
	if s.PutReferrersSeen(ctx, repo("a"), "x") == nil {
		t.Error("nonsense was kept")
	}
}

func TestFiles(t *testing.T) {
	d := newStand(t)
	d.dir = filepath.Join(d.dir, "a?mode=ro#b %20", "state")
	s := d.open(t)
	must(t, s.PutManifest(t.Context(), manifest(1, 10)))
	for name, want := range map[string]os.FileMode{"": 0o700, "dray.db": 0o600, "dray.db-wal": 0o600, "dray.db-shm": 0o600, "dray.db.lock": 0o600, "dray.db.users": 0o600} {
		info, err := os.Stat(filepath.Join(d.dir, name))
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o", name, got)
		}
	}
	must(t, s.Close())
	if d.log.Len() != 0 {
		t.Error(d.log.String())
	}
	files, err := os.ReadDir(d.dir)
	must(t, err)
	if len(files) != 3 {
		t.Errorf("after closing there is %v", files)
	}
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	readOnly, taken, pipe := t.TempDir(), t.TempDir(), t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(pipe, fileName), 0o600))
	must(t, os.Chmod(readOnly, 0o500))
	must(t, os.Mkdir(filepath.Join(taken, fileName), 0o700))
	for name, dir := range map[string]string{"below a file": filepath.Join(file, "state"), "read-only": readOnly, "a directory in its place": taken, "a pipe in its place": pipe} {
		t.Run(name, func(t *testing.T) {
			if name == "read-only" && os.Geteuid() == 0 {
				t.Skip("root may write everywhere")
			}
			s, err := Open(t.Context(), dir, newStand(t).options())
			if err == nil {
				s.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), filepath.Join(dir, fileName)) {
				t.Error(err)
			}
			if want := map[string]string{"below a file": "set stateDir to a directory", "read-only": "let the user with the ID"}[name]; !strings.Contains(err.Error(), want) {
				t.Errorf("%v; it lacks %q", err, want)
			}
		})
	}
}

// TestPlaceHint: the error of a store that cannot be opened says what to do.
func TestPlaceHint(t *testing.T) {
	for want, err := range map[string]error{
		"let the user with the ID": &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES},
		"that can be written":      &fs.PathError{Op: "open", Path: "x", Err: syscall.EROFS},
		"free some space there":    fmt.Errorf("write: %w", syscall.ENOSPC),
		"to a directory":           &fs.PathError{Op: "mkdir", Path: "x", Err: syscall.ENOTDIR},
	} {
		if got := placeHint(err); !strings.Contains(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if got := placeHint(context.Canceled); got != "" {
		t.Errorf("%q", got)
	}
}

func TestFull(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	must(t, s.PutManifest(t.Context(), manifest(1, 10)))
	_, err := s.writer.Exec("PRAGMA max_page_count = 40")
	must(t, err)
	if err := s.PutManifest(t.Context(), manifest(2, 1<<20)); err == nil || !strings.Contains(err.Error(), "full") {
		t.Error(err)
	}
	if !kept(t, s, manifest(1, 10)) || kept(t, s, manifest(2, 1<<20)) {
		t.Error("a full disk cost more than what did not fit")
	}
	must(t, s.PutManifest(t.Context(), manifest(3, 10)))
}
