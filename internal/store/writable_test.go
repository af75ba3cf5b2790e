package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestWritable(t *testing.T) {
	d := newStand(t)
	s, other, ctx := d.open(t), d.open(t), t.Context()
	wrote := func() bool {
		before := change(t, other)
		must(t, s.Writable(ctx))
		return change(t, other) != before
	}
	if !wrote() {
		t.Error("it wrote nothing")
	}
	d.pass(10 * time.Millisecond)
	if wrote() {
		t.Error("it wrote again at once")
	}
	d.pass(time.Second)
	if !wrote() {
		t.Error("an old check counts")
	}
	d.pass(-time.Hour)
	if !wrote() {
		t.Error("a check in the future counts")
	}
}

func TestNotWritable(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, s, other *Store){
		"in use": func(t *testing.T, _, other *Store) {
			tx, err := other.writer.BeginTx(t.Context(), nil)
			must(t, err)
			_, err = tx.Exec("UPDATE checks SET at = 0")
			must(t, err)
			t.Cleanup(func() { _ = tx.Rollback() })
		},
		"damaged": func(_ *testing.T, s, _ *Store) { s.damaged.Store(true) },
		"full": func(t *testing.T, s, _ *Store) {
			fails := "CREATE TRIGGER fails BEFORE INSERT ON checks BEGIN SELECT raise(ABORT, 'no'); END"
			if _, file := s.dialect.(files); !file {
				fails = "ALTER TABLE checks ADD CHECK (at = 0) NOT VALID"
			}
			_, err := s.writer.Exec(fails)
			must(t, err)
		},
		"closed": func(t *testing.T, s, _ *Store) { must(t, s.writer.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newStand(t)
			s, other := d.open(t), d.open(t)
			must(t, s.Writable(t.Context()))
			d.pass(time.Hour)
			spoil(t, s, other)
			var err error
			took := time.Hour
			for n := 0; n < 3 && took > 3*time.Second; n++ { // the machine may be busy
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				started := time.Now()
				err = s.Writable(ctx)
				cancel()
				took = time.Since(started)
			}
			if err == nil || took > 3*time.Second {
				t.Error(err, took)
			}
			if name == "in use" && !errors.Is(err, context.DeadlineExceeded) || name == "damaged" && !errors.Is(err, errDamaged) {
				t.Error(err)
			}
		})
	}
}

// TestRemoved: of a store that somebody removes while it is used nothing is lost, and it is used again.
func TestRemoved(t *testing.T) {
	for name, remove := range map[string]func(t *testing.T, dir string){
		"the file":      func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, fileName))) },
		"the directory": func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newStand(t)
			s := d.open(t)
			must(t, s.PutManifest(t.Context(), manifest(1, 10)))
			for round := range 3 {
				remove(t, d.dir)
				d.pass(time.Minute)
				must(t, s.PutManifest(t.Context(), manifest(2+round, 10)))
				must(t, s.Writable(t.Context()))
			}
			other := d.open(t)
			for n := range 4 {
				if !kept(t, s, manifest(1+n, 10)) || !kept(t, other, manifest(1+n, 10)) {
					t.Errorf("manifest %d is lost", n)
				}
			}
			must(t, other.PutManifest(t.Context(), manifest(9, 10)))
			if !kept(t, s, manifest(9, 10)) {
				t.Error("it goes on with the file that was removed")
			}
			if n := strings.Count(d.log.String(), "written anew"); n != 3 {
				t.Errorf("said %d times: %s", n, d.log.String())
			}
		})
	}
}

// TestRemovedAndLeft: who goes away while the file is written anew leaves no reader with the one that was removed.
func TestRemovedAndLeft(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	must(t, s.PutManifest(t.Context(), manifest(1, 10)))
	path := filepath.Join(d.dir, fileName)
	inUse, err := s.reader.Conn(t.Context())
	must(t, err)
	must(t, inUse.PingContext(t.Context()))
	must(t, os.Remove(path))
	d.pass(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.PutManifest(ctx, manifest(2, 10)) }()
	for _, err := os.Lstat(path); err != nil; _, err = os.Lstat(path) {
		runtime.Gosched()
	}
	cancel()
	must(t, inUse.Close())
	<-ended // it may have failed
	other := d.open(t)
	must(t, other.PutManifest(t.Context(), manifest(9, 10)))
	if !kept(t, s, manifest(9, 10)) {
		t.Error("it reads the file that was removed")
	}
}

// TestNotThere: a place in which nothing can be written is said once, at readiness too, and used again as soon as it can be.
func TestNotThere(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	must(t, s.PutManifest(t.Context(), manifest(1, 10)))
	must(t, os.RemoveAll(d.dir))
	must(t, os.WriteFile(d.dir, nil, 0o600))
	for n := range 3 {
		d.pass(time.Minute)
		if err := s.PutManifest(t.Context(), manifest(2+n, 10)); err == nil {
			t.Error("it is kept nowhere, and that is no error")
		}
		if err := s.Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "was removed") {
			t.Error(err)
		}
	}
	if n := strings.Count(d.log.String(), "\n"); n != 1 {
		t.Errorf("%d lines: %s", n, d.log.String())
	}
	must(t, os.Remove(d.dir))
	d.pass(time.Minute)
	must(t, s.Writable(t.Context()))
	if !kept(t, s, manifest(1, 10)) || !strings.Contains(d.log.String(), "the store can be used again") {
		t.Error(d.log.String())
	}
}

// TestFullDisk: a full disk is said once, and the store used again when there is room.
func TestFullDisk(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	limit := func(pages int) {
		_, err := s.writer.Exec(fmt.Sprint("PRAGMA max_page_count = ", pages))
		must(t, err)
	}
	limit(1)
	for n := range 3 {
		d.pass(time.Minute)
		if err := s.PutManifest(t.Context(), manifest(n, 100_000)); err == nil {
			t.Error("it is kept")
		}
	}
	if n := strings.Count(d.log.String(), "\n"); n != 1 || !strings.Contains(d.log.String(), "full") {
		t.Errorf("%d lines: %s", n, d.log.String())
	}
	limit(1 << 20)
	must(t, s.PutManifest(t.Context(), manifest(1, 100_000)))
	if !kept(t, s, manifest(1, 100_000)) || !strings.Contains(d.log.String(), "the store can be used again") {
		t.Error(d.log.String())
	}
}
