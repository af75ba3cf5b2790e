package store

import (
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
)

// readAll reads everything that fill has written.
func readAll(t testing.TB, s *Store, n int) {
	t.Helper()
	for i := range n {
		kept(t, s, manifest(i, 10))
		if _, _, err := s.Selected(t.Context(), digest(i), "p"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.ReferrersSeen(t.Context(), repo("a"), digest(i)); err != nil {
			t.Fatal(err)
		}
	}
	held(t, s, repo("a"), digests(0, n)...)
}

func fill(t testing.TB, s *Store, n int) {
	t.Helper()
	ctx := t.Context()
	for i := range n {
		must(t, s.PutManifest(ctx, manifest(i, 10)))
		must(t, s.PutSelected(ctx, digest(i), "p", digest(i)))
		must(t, s.PutReferrersSeen(ctx, repo("a"), digest(i)))
	}
	must(t, s.AddBlobs(ctx, repo("a"), digests(0, n), true))
}

func TestReadingWritesOnceADay(t *testing.T) {
	const rows = 50
	d := newStand(t)
	watcher := d.open(t)
	filler := d.open(t)
	fill(t, filler, rows)
	must(t, filler.Close())
	for _, step := range []struct {
		name   string
		after  time.Duration
		writes bool
	}{
		{"at once", 0, false},
		{"within a day", 23 * time.Hour, false},
		{"after a day", 2 * time.Hour, true},
		{"again", time.Hour, false},
		{"a clock set back", -48 * time.Hour, true},
	} {
		t.Run(step.name, func(t *testing.T) {
			d.pass(step.after)
			before := change(t, watcher)
			s := d.open(t)
			readAll(t, s, rows)
			readAll(t, s, rows)
			if change(t, watcher) != before {
				t.Error("opening or reading itself has written")
			}
			must(t, s.Close())
			if wrote := change(t, watcher) - before; wrote != 0 != step.writes {
				t.Errorf("closing wrote: %v", wrote)
			}
		})
	}
}

func TestTouchedIsBounded(t *testing.T) {
	fulltest.Long(t)
	d := newStand(t)
	s := d.open(t)
	must(t, s.AddBlobs(t.Context(), repo("a"), digests(0, maxTouched+10), true))
	d.pass(25 * time.Hour)
	held(t, s, repo("a"), digests(0, maxTouched+10)...)
	if s.pending != maxTouched {
		t.Error(s.pending)
	}
	must(t, s.Prune(t.Context(), d.Now().Add(-time.Hour), 0))
	if got := held(t, s, repo("a"), digests(0, maxTouched+10)...); got != maxTouched || s.pending != 0 {
		t.Error(got, s.pending)
	}
}
