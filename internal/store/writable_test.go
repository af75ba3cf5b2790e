package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
			tx, err := other.begin(t.Context())
			must(t, err)
			t.Cleanup(func() { _ = tx.Rollback() })
		},
		"damaged": func(_ *testing.T, s, _ *Store) { s.damaged.Store(true) },
		"full": func(t *testing.T, s, _ *Store) {
			_, err := s.writer.Exec("CREATE TRIGGER fails BEFORE INSERT ON checks BEGIN SELECT raise(ABORT, 'no'); END")
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
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			started := time.Now()
			err := s.Writable(ctx)
			if err == nil || time.Since(started) > 3*time.Second {
				t.Error(err, time.Since(started))
			}
			if name == "in use" && !errors.Is(err, context.DeadlineExceeded) || name == "damaged" && !errors.Is(err, errDamaged) {
				t.Error(err)
			}
		})
	}
}

// A database that somebody has removed takes every write, and nothing of it lasts.
func TestWritableRemoved(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	must(t, s.Writable(t.Context()))
	must(t, os.Remove(filepath.Join(d.dir, fileName)))
	if err := s.Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Error(err)
	}
}
