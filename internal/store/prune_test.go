package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// count counts the rows of all tables.
func count(t *testing.T, s *Store) (rows int) {
	t.Helper()
	must(t, s.reader.QueryRow("SELECT (SELECT count(*) FROM manifests) + (SELECT count(*) FROM selections) + (SELECT count(*) FROM referrers) + "+
		"(SELECT count(*) FROM blobs) + (SELECT count(*) FROM repositories)").Scan(&rows))
	return rows
}

func TestPruneByAge(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	fill(t, s, 250)
	must(t, s.AddBlobs(ctx, repo("old"), digests(0, 5), true))
	d.pass(30 * 24 * time.Hour)
	readAll(t, s, 30) // what is read stays
	must(t, s.PutManifest(ctx, manifest(1000, 10)))
	must(t, s.Prune(ctx, d.Now().Add(-10*24*time.Hour), 0))
	if got := count(t, s); got != 4*30+1+1 {
		t.Errorf("%d rows are left", got)
	}
	if !kept(t, s, manifest(29, 10)) || kept(t, s, manifest(30, 10)) || held(t, s, repo("a"), digests(0, 250)...) != 30 || held(t, s, repo("old"), digests(0, 5)...) != 0 {
		t.Error("the wrong ones are gone")
	}
	d.pass(time.Hour)
	must(t, s.Prune(ctx, d.Now(), 0))
	if got := count(t, s); got != 0 {
		t.Errorf("%d rows are left", got)
	}
}

func TestPruneBySize(t *testing.T) {
	const size, manifests = 1 << 20, 400
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	must(t, s.AddBlobs(ctx, repo("a"), digests(0, 1000), true))
	for i := range manifests {
		d.pass(time.Minute)
		must(t, s.PutManifest(ctx, manifest(i, 10000)))
	}
	must(t, s.Prune(ctx, d.Now().Add(-365*24*time.Hour), size))
	left := 0
	for i := range manifests {
		if kept(t, s, manifest(i, 10000)) {
			left++
		} else if left > 0 {
			t.Fatalf("%d is gone, and an older one is not", i)
		}
	}
	if left < 30 || left > 100 || held(t, s, repo("a"), digests(0, 1000)...) != 1000 {
		t.Errorf("%d manifests are left, and %d blobs", left, held(t, s, repo("a"), digests(0, 1000)...))
	}
	must(t, s.Close())
	info, err := os.Stat(filepath.Join(d.dir, fileName))
	must(t, err)
	if info.Size() > size {
		t.Errorf("the file has %d bytes", info.Size())
	}
}

func TestPruneBeyondManifests(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	for i := range 20 {
		d.pass(24 * time.Hour)
		must(t, s.AddBlobs(ctx, repo("a"), digests(1000*i, 1000*i+1000), true))
	}
	year := d.Now().Add(-365 * 24 * time.Hour)
	must(t, s.Prune(ctx, year, 1<<20))
	oldest, newest := held(t, s, repo("a"), digests(0, 1000)...), held(t, s, repo("a"), digests(19000, 20000)...)
	if fits, err := s.fits(ctx, 1<<20); !fits || err != nil || oldest != 0 || newest != 1000 {
		t.Error(fits, err, oldest, newest)
	}
	must(t, s.Prune(ctx, year, 1))
	if got := count(t, s); got != 0 {
		t.Errorf("%d rows are left", got)
	}
}
