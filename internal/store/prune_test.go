package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
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

// counted counts what is written.
type counted struct {
	dialect
	writes int
}

func (c *counted) write(ctx context.Context, list []statement, once bool) (int64, error) {
	c.writes++
	return c.dialect.write(ctx, list, once)
}

// TestPruneOfManyRepositories: of repositories that are used nothing is written, since there are many and a ledger may be far away; and of those that
// are not each is found.
func TestPruneOfManyRepositories(t *testing.T) {
	fulltest.Long(t)
	const repositories = pruneRepositories + 10
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	for i := range repositories {
		must(t, s.AddBlobs(ctx, repo(fmt.Sprint("r", i)), digests(0, 1), true))
	}
	c := &counted{dialect: s.dialect}
	s.dialect = c
	must(t, s.Prune(ctx, d.Now().Add(-10*24*time.Hour), 0))
	if got := count(t, s); c.writes > 10 || got != 2*repositories {
		t.Errorf("%d writes, %d rows are left", c.writes, got)
	}
	d.pass(30 * 24 * time.Hour)
	must(t, s.AddBlobs(ctx, repo("r7"), digests(1, 2), true))
	must(t, s.Prune(ctx, d.Now().Add(-10*24*time.Hour), 0))
	if got := count(t, s); got != 2 || held(t, s, repo("r7"), digests(1, 2)...) != 1 {
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
	if d.ledger != "" {
		return // its space is the database's
	}
	must(t, s.Close())
	info, err := os.Stat(filepath.Join(d.dir, fileName))
	must(t, err)
	if info.Size() > size {
		t.Errorf("the file has %d bytes", info.Size())
	}
}

// TestPruneTogether has several drop the same at once: what is left is what one would have left.
func TestPruneTogether(t *testing.T) {
	const manifests = 200
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	for i := range manifests {
		d.pass(time.Minute)
		must(t, s.PutManifest(ctx, manifest(i, 10000)))
	}
	for i := range 60 {
		run, state := busyRun(d, fmt.Sprint(i), 20)
		run.Actions[0].Error = strings.Repeat("x", 2000)
		keep(t, s, run, state)
	}
	var together sync.WaitGroup
	for range 3 {
		s := d.open(t)
		together.Go(func() {
			if err := s.Prune(ctx, d.Now().Add(-365*24*time.Hour), 1<<20); err != nil {
				t.Error(err)
			}
		})
	}
	together.Wait()
	left := 0
	for i := range manifests {
		if kept(t, s, manifest(i, 10000)) {
			left++
		} else if left > 0 {
			t.Fatalf("%d is gone, and an older one is not", i)
		}
	}
	if left < 30 || left > 100 {
		t.Errorf("%d manifests are left", left)
	}
	stripped := 0
	for _, r := range history(t, s, HistoryQuery{Limit: 1000}) {
		if r.More+len(r.Actions) != 20 {
			t.Errorf("%s: %d outcomes, and %d more", r.Job, len(r.Actions), r.More)
		}
		if r.More > 0 {
			stripped++
		}
	}
	if stripped < 10 || stripped > 50 {
		t.Errorf("%d runs are without outcomes", stripped)
	}
}

func TestPruneBeyondManifests(t *testing.T) {
	fulltest.Long(t)
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	for i := range 20 {
		d.pass(24 * time.Hour)
		must(t, s.AddBlobs(ctx, repo("a"), digests(1000*i, 1000*i+1000), true))
	}
	year := d.Now().Add(-365 * 24 * time.Hour)
	must(t, s.Prune(ctx, year, 1<<20))
	oldest, newest := held(t, s, repo("a"), digests(0, 1000)...), held(t, s, repo("a"), digests(19000, 20000)...)
	if excess, err := s.excess(ctx, 1<<20); excess > 0 || err != nil || oldest != 0 || newest != 1000 {
		t.Error(excess, err, oldest, newest)
	}
	must(t, s.Prune(ctx, year, 1))
	if got := count(t, s); got != 0 {
		t.Errorf("%d rows are left", got)
	}
}
