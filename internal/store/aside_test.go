package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
	"github.com/google/go-cmp/cmp"
)

// names lists what was put aside in a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, fileName+".*-*"))
	must(t, err)
	for i, p := range paths {
		paths[i] = filepath.Base(p)
	}
	return paths
}

// edit runs SQL on the database of a store that nobody uses.
func edit(t *testing.T, dir string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, fileName))
	must(t, err)
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func overwrite(t *testing.T, dir string, offset int64, content string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte(content), offset)
	must(t, err)
}

func TestAside(t *testing.T) {
	fulltest.Long(t)
	const at = "20260301T120000Z"
	later := len(schema()) + 1
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, dir string)
		aside []string
		log   string
	}{
		"sound": {func(*testing.T, string) {}, nil, ""},
		"not a database": {func(t *testing.T, dir string) { overwrite(t, dir, 0, strings.Repeat("junk", 1000)) },
			[]string{"dray.db.corrupt-" + at}, "was damaged"},
		"cut": {func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, fileName), 6000)) },
			[]string{"dray.db.corrupt-" + at}, "was damaged"},
		"schema damaged": {func(t *testing.T, dir string) { overwrite(t, dir, 100, strings.Repeat("\xff", 60)) },
			[]string{"dray.db.corrupt-" + at}, "was damaged"},
		"another program's": {func(t *testing.T, dir string) { edit(t, dir, "PRAGMA application_id = 1") },
			[]string{"dray.db.corrupt-" + at}, "not dray's"},
		"without version": {func(t *testing.T, dir string) { edit(t, dir, "PRAGMA user_version = 0") },
			[]string{"dray.db.corrupt-" + at}, "not dray's"},
		"without a table": {func(t *testing.T, dir string) { edit(t, dir, "DROP TABLE blobs") },
			[]string{"dray.db.corrupt-" + at}, "no such table"},
		"newer": {func(t *testing.T, dir string) {
			edit(t, dir, fmt.Sprint("PRAGMA user_version = ", later), "DROP TABLE blobs")
		},
			[]string{fmt.Sprint("dray.db.newer-", later, "-", at)}, "later dray"},
		"twice in a second": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "dray.db.corrupt-"+at), nil, 0o600))
			overwrite(t, dir, 0, "junk")
		}, []string{"dray.db.corrupt-" + at, "dray.db.corrupt-" + at + "-2"}, "was damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newStand(t)
			s := d.open(t)
			must(t, s.PutManifest(t.Context(), manifest(1, 10000)))
			must(t, s.Close())
			tt.spoil(t, d.dir)
			s = d.open(t)
			if diff := cmp.Diff(tt.aside, names(t, d.dir)); diff != "" {
				t.Error(diff)
			}
			if got := d.log.String(); !strings.Contains(got, tt.log) || strings.Count(got, "\n") != min(len(tt.log), 1) {
				t.Errorf("the log says %q", got)
			}
			if kept(t, s, manifest(1, 10000)) != (tt.aside == nil) {
				t.Error("the manifest is not where it should be")
			}
			must(t, s.PutManifest(t.Context(), manifest(2, 10)))
			must(t, s.Close())
			s = d.open(t) // and that is the end of it
			if !kept(t, s, manifest(2, 10)) || len(names(t, d.dir)) != len(tt.aside) {
				t.Error("the new one did not last")
			}
		})
	}
}

// Wherever the header of the file is overwritten, the store goes on with it or puts it aside, at the next start at the latest.
func TestHeaderDamaged(t *testing.T) {
	fulltest.Long(t)
	for _, junk := range []string{"damaged!", "\xff", "\x00\x00\x00\x00", "\x03"} {
		for offset := int64(0); offset < 100; offset += max(1, 100/int64(fulltest.Rounds(17, 50))) { //nolint:gosec // a small number
			d := newStand(t)
			s := d.open(t)
			must(t, s.PutManifest(t.Context(), manifest(1, 10)))
			must(t, s.Close())
			overwrite(t, d.dir, offset, junk)
			s, err := Open(t.Context(), d.dir, d.options())
			if err != nil {
				t.Errorf("%q at %d: %v", junk, offset, err)
				continue
			}
			must(t, s.PutManifest(t.Context(), manifest(2, 10)))
			if !kept(t, s, manifest(2, 10)) && !strings.Contains(d.log.String(), "the next start makes a new one") {
				t.Errorf("%q at %d: nothing is kept: %s", junk, offset, d.log.String())
			}
			must(t, s.Close())
			s = d.open(t)
			must(t, s.PutManifest(t.Context(), manifest(2, 10)))
			if !kept(t, s, manifest(2, 10)) {
				t.Errorf("%q at %d: nothing is kept at the next start: %s", junk, offset, d.log.String())
			}
			must(t, s.Close())
		}
	}
}

func TestAsideKeepsWhatIsInUse(t *testing.T) {
	d := newStand(t)
	later, err := open(t.Context(), d.dir, d.options(), append(schema(), "CREATE TABLE later (x)"))
	must(t, err)
	defer later.Close()
	must(t, later.PutManifest(t.Context(), manifest(1, 10)))
	if s, err := Open(t.Context(), d.dir, d.options()); err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Fatal(s, err)
	}
	if !kept(t, later, manifest(1, 10)) || names(t, d.dir) != nil {
		t.Error("the file was taken from under its user")
	}
	must(t, later.Close())
	if s := d.open(t); kept(t, s, manifest(1, 10)) || len(names(t, d.dir)) != 1 {
		t.Error("it was not put aside")
	}
}

func TestDamageInTheMiddle(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	for i := range 200 {
		must(t, s.PutManifest(ctx, manifest(i, 1000)))
	}
	run, state := busyRun(d, "a", 1)
	keep(t, s, run, state)
	must(t, s.Close())
	info, err := os.Stat(filepath.Join(d.dir, fileName))
	must(t, err)
	// The pages before have the tables' roots and the schema, without which the store would not open.
	for offset := int64(25 * 4096); offset < info.Size(); offset += 4096 {
		overwrite(t, d.dir, offset, strings.Repeat("\xff", 4096))
	}
	s = d.open(t)
	for i := range 200 {
		if kept(t, s, manifest(i, 1000)) && d.log.Len() > 0 {
			t.Fatal("something was found after the damage")
		}
	}
	if got := d.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "the store is damaged") {
		t.Errorf("the log says %q", got)
	}
	must(t, s.PutManifest(ctx, manifest(1000, 10))) // is nothing, and no error
	must(t, s.AddBlobs(ctx, repo("a"), digests(0, 1), true))
	must(t, s.Prune(ctx, d.Now(), 1))
	must(t, s.KeepRun(ctx, run, state))
	must(t, s.KeepJobs(ctx, map[string]record.State{"a": {Anchor: d.Now()}}))
	must(t, s.TouchJobs(ctx, []string{"a"}))
	if len(states(t, s))+len(history(t, s, HistoryQuery{})) != 0 || !errors.Is(s.Writable(ctx), errDamaged) {
		t.Error("a damaged store keeps runs")
	}
	if held(t, s, repo("a"), digest(0)) != 0 || kept(t, s, manifest(1000, 10)) {
		t.Error("a damaged store keeps things")
	}
	if other, err := Open(ctx, d.dir, d.options()); err == nil {
		other.Close()
		t.Error("a damaged store in use was opened")
	}
	must(t, s.Close())
	d.log.Reset()
	s = d.open(t)
	must(t, s.PutManifest(ctx, manifest(1, 1000)))
	must(t, s.Close())
	if !kept(t, d.open(t), manifest(1, 1000)) || len(names(t, d.dir)) != 1 || strings.Count(d.log.String(), "\n") != 1 {
		t.Error(names(t, d.dir), d.log.String())
	}
}

// TestHistoryDamaged damages the tables of jobs and runs, and leaves it to each operation to find that.
func TestHistoryDamaged(t *testing.T) {
	fulltest.Long(t)
	keepOne := func(ctx context.Context, d *stand, s *Store) error {
		run, state := busyRun(d, "a", 3)
		return s.KeepRun(ctx, run, state)
	}
	for name, do := range map[string]func(ctx context.Context, d *stand, s *Store) error{
		"keep":          keepOne,
		"keep outcomes": keepOne,
		"states": func(ctx context.Context, _ *stand, s *Store) error {
			all, err := s.JobStates(ctx)
			if all == nil || len(all) != 0 {
				t.Error(all)
			}
			return err
		},
		"history": func(ctx context.Context, _ *stand, s *Store) error {
			_, err := s.History(ctx, HistoryQuery{})
			return err
		},
		"anchors": func(ctx context.Context, d *stand, s *Store) error {
			return s.KeepJobs(ctx, map[string]record.State{"a": {Anchor: d.Now()}})
		},
		"touch": func(ctx context.Context, _ *stand, s *Store) error { return s.TouchJobs(ctx, []string{"a"}) },
		"prune": func(ctx context.Context, d *stand, s *Store) error { return s.Prune(ctx, d.Now(), 1<<20) },
		"writable": func(ctx context.Context, _ *stand, s *Store) error {
			if err := s.Writable(ctx); !errors.Is(err, errDamaged) {
				t.Error(err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newStand(t)
			s := d.open(t)
			run, state := busyRun(d, "a", 3)
			keep(t, s, run, state)
			must(t, s.Writable(t.Context()))
			tables := "'jobs', 'runs', 'checks'"
			if name == "keep outcomes" {
				tables = "'outcomes'"
			}
			roots, err := s.reader.Query("SELECT rootpage FROM sqlite_schema WHERE tbl_name IN (" + tables + ")")
			must(t, err)
			var pages []int64
			for roots.Next() {
				var page int64
				must(t, roots.Scan(&page))
				pages = append(pages, page)
			}
			must(t, errors.Join(roots.Err(), roots.Close(), s.Close()))
			for _, page := range pages {
				overwrite(t, d.dir, (page-1)*4096, strings.Repeat("\xff", 4096))
			}
			s, ctx := d.open(t), t.Context()
			d.pass(48 * time.Hour)
			must(t, do(ctx, d, s))
			if got := d.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "the store is damaged") {
				t.Errorf("the log says %q", got)
			}
			must(t, do(ctx, d, s))
			must(t, s.Close())
			keep(t, d.open(t), run, state)
			if len(names(t, d.dir)) != 1 {
				t.Error("it was not put aside", names(t, d.dir))
			}
		})
	}
}

// TestHistoryAfterDamage: what was found damaged elsewhere is not asked for jobs and runs any more.
func TestHistoryAfterDamage(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	run, state := busyRun(d, "a", 3)
	keep(t, s, run, state)
	s.damaged.Store(true)
	if all, runs := states(t, s), history(t, s, HistoryQuery{}); len(all)+len(runs) != 0 {
		t.Error(all, runs)
	}
}

func TestMarkedButSound(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	must(t, s.PutManifest(t.Context(), manifest(1, 10)))
	must(t, s.Close())
	must(t, writeEmpty(filepath.Join(d.dir, fileName+damagedSuffix)))
	if !kept(t, d.open(t), manifest(1, 10)) || names(t, d.dir) != nil {
		t.Error("a sound file was put aside")
	}
	if _, err := os.Stat(filepath.Join(d.dir, fileName+damagedSuffix)); err == nil {
		t.Error("the mark stays")
	}
}

func TestDeletedUnderAUser(t *testing.T) {
	d := newStand(t)
	old := d.open(t)
	must(t, old.PutManifest(t.Context(), manifest(1, 10)))
	must(t, os.Remove(filepath.Join(d.dir, fileName)))
	s := d.open(t)
	must(t, s.PutManifest(t.Context(), manifest(2, 10)))
	must(t, old.PutManifest(t.Context(), manifest(3, 10)))
	must(t, old.Close())
	if kept(t, s, manifest(1, 10)) || !kept(t, s, manifest(2, 10)) || kept(t, s, manifest(3, 10)) {
		t.Error("two databases share what is beside them")
	}
	must(t, s.Close())
	if !kept(t, d.open(t), manifest(2, 10)) {
		t.Error("what was committed is gone")
	}
}

func TestOpenWaitsNoLongerThanItsContext(t *testing.T) {
	d := newStand(t)
	unlock, err := lockFile(filepath.Join(d.dir, fileName+lockSuffix), true)
	must(t, err)
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, d.dir, d.options()); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Error(err)
	}
}

// TestAsideLosesNothing puts aside what a killed process has left, whose last writes are in the log beside the database.
func TestAsideLosesNothing(t *testing.T) {
	d, killed := newStand(t), newStand(t)
	later, err := open(t.Context(), d.dir, d.options(), append(schema(), "CREATE TABLE later (x)"))
	must(t, err)
	defer later.Close()
	must(t, later.PutManifest(t.Context(), manifest(1, 10)))
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(filepath.Join(d.dir, fileName+suffix))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(killed.dir, fileName+suffix), content, 0o600))
	}
	s := killed.open(t)
	must(t, s.PutManifest(t.Context(), manifest(2, 10)))
	aside := names(t, killed.dir)
	db, err := sql.Open("sqlite", filepath.Join(killed.dir, aside[0]))
	must(t, err)
	defer db.Close()
	var rows int
	must(t, db.QueryRow("SELECT count(*) FROM manifests").Scan(&rows))
	if rows != 1 || kept(t, s, manifest(1, 10)) || !kept(t, s, manifest(2, 10)) {
		t.Errorf("%d rows are in %v", rows, aside)
	}
}

func TestAsideTakesEverything(t *testing.T) {
	d := newStand(t)
	s := &Store{path: filepath.Join(d.dir, fileName), options: d.options()}
	for _, suffix := range []string{"", "-wal", "-shm", damagedSuffix} {
		must(t, writeEmpty(s.path+suffix))
	}
	must(t, s.putAside(t.Context(), &unfitError{cause: os.ErrInvalid}))
	const aside = "dray.db.corrupt-20260301T120000Z"
	if diff := cmp.Diff([]string{aside, aside + "-shm", aside + "-wal"}, names(t, d.dir)); diff != "" {
		t.Error(diff)
	}
	if left, err := filepath.Glob(s.path + "*"); err != nil || len(left) != 4 { // and the lock
		t.Error(left, err)
	}
}
