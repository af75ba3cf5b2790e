package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

// TestVersion1 opens a database as the first release has made it: the SQL file is never changed.
func TestVersion1(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("testdata", "version1.sql"))
	must(t, err)
	d := newStand(t)
	must(t, writeEmpty(filepath.Join(d.dir, fileName)))
	edit(t, d.dir, string(script))
	s, ctx := d.open(t), t.Context()
	if names(t, d.dir) != nil || d.log.Len() > 0 {
		t.Fatal(names(t, d.dir), d.log.String())
	}
	if !kept(t, s, manifest(1, 1)) || held(t, s, repo("a"), digest(1)) != 1 {
		t.Error("a manifest or a blob is gone")
	}
	if holders, err := s.BlobHolders(ctx, repo("a").Registry, digest(1)); len(holders) != 1 || err != nil {
		t.Error(holders, err)
	}
	if got, ok, err := s.Selected(ctx, digest(1), "linux/amd64"); got != digest(2) || !ok || err != nil {
		t.Error(got, ok, err)
	}
	if got, ok, err := s.ReferrersSeen(ctx, repo("a"), digest(1)); !got.Equal(time.UnixMilli(1000)) || !ok || err != nil {
		t.Error(got, ok, err)
	}
}

// TestSchemaOfVersion1 compares what the first release has made with what this dray makes of its first version.
func TestSchemaOfVersion1(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("testdata", "version1.sql"))
	must(t, err)
	tables, _, _ := strings.Cut(string(script), "-- content")
	if diff := cmp.Diff(strings.TrimSpace(tables), strings.TrimSpace(version1)); diff != "" {
		t.Error("what was released was changed; write a next version instead:", diff)
	}
}

func TestMigrate(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	must(t, s.PutManifest(t.Context(), manifest(1, 10)))
	must(t, s.Close())
	steps := append(schema(), "CREATE TABLE more (x INTEGER); INSERT INTO more VALUES (1)", "UPDATE more SET x = x + 1")
	if s, err := open(t.Context(), d.dir, d.options(), append(steps, "INSERT INTO more VALUES (5); INSERT INTO nowhere VALUES (1)")); err == nil || !strings.Contains(err.Error(), fmt.Sprint("version ", len(steps)+1)) {
		t.Fatal(s, err)
	}
	edit(t, d.dir, "CREATE TABLE untouched (x)") // a failed migration has left nothing behind
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			s, err := open(t.Context(), d.dir, d.options(), steps)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			var rows, x, version int
			if err := s.reader.QueryRow("SELECT count(*), max(x), (SELECT user_version FROM pragma_user_version) FROM more").Scan(&rows, &x, &version); err != nil || rows != 1 || x != 2 || version != len(steps) {
				t.Error(err, rows, x, version)
			}
		})
	}
	group.Wait()
	if s, err := open(t.Context(), d.dir, d.options(), steps); err != nil || !kept(t, s, manifest(1, 10)) || names(t, d.dir) != nil {
		t.Error(err)
	} else {
		s.Close()
	}
}

// golden copies the database that the first release has made into a directory.
func golden(t testing.TB, dir string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "version1.db"))
	must(t, err)
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, fileName), content, 0o600))
}

// checkGolden looks for what is in that database, and that the tables of the newest version are there.
func checkGolden(t testing.TB, s *Store) {
	t.Helper()
	ctx := context.Background()
	for i := range 5 {
		if !kept(t, s, manifest(i, 1000)) {
			t.Errorf("manifest %d is gone", i)
		}
	}
	if !kept(t, s, long(manifest(9, 100))) {
		t.Error("the manifest with a sha512 digest is gone")
	}
	if a, b := held(t, s, repo("a"), digests(0, 100)...), held(t, s, repo("b"), digests(0, 100)...); a != 45 || b != 20 {
		t.Error("blobs are gone", a, b)
	}
	if holders, err := s.BlobHolders(ctx, repo("a").Registry, digest(42)); err != nil || len(holders) != 1 || holders[0] != repo("a") {
		t.Error(holders, err)
	}
	if got, ok, err := s.Selected(ctx, digest(1), "linux/amd64"); got != digest(2) || !ok || err != nil {
		t.Error(got, ok, err)
	}
	want := newClock().Now().Add(time.Hour)
	if got, ok, err := s.ReferrersSeen(ctx, repo("a"), digest(1)); !ok || err != nil || !got.Equal(want) {
		t.Error(got, ok, err)
	}
	var version int
	must(t, s.reader.QueryRow("PRAGMA user_version").Scan(&version))
	if version != len(schema()) {
		t.Errorf("it has version %d", version)
	}
	if _, err := s.JobStates(ctx); err != nil {
		t.Error(err)
	}
}

func long(m image.Manifest) image.Manifest {
	m.Digest = image.DigestOf(m.Raw, "sha512:"+image.Digest(strings.Repeat("a", 128)))
	return m
}

// TestGolden opens a database that the first release has written itself.
func TestGolden(t *testing.T) {
	d := newStand(t)
	golden(t, d.dir)
	d.pass(2 * time.Hour)
	for range 2 {
		s := d.open(t)
		checkGolden(t, s)
		run, state := busyRun(d, "a", 2)
		keep(t, s, run, state)
		must(t, s.Writable(t.Context()))
		must(t, s.Close())
	}
	if got := history(t, d.open(t), HistoryQuery{}); len(got) != 2 || names(t, d.dir) != nil || d.log.Len() > 0 {
		t.Error(got, names(t, d.dir), d.log.String())
	}
}

// TestGoldenTables: a database of an earlier version gets the same tables as a new database.
func TestGoldenTables(t *testing.T) {
	d, fresh := newStand(t), newStand(t)
	golden(t, d.dir)
	tables := func(s *Store) (all string) {
		must(t, s.reader.QueryRow("SELECT group_concat(sql, char(10) ORDER BY name) FROM sqlite_schema").Scan(&all))
		return all
	}
	if diff := cmp.Diff(tables(fresh.open(t)), tables(d.open(t))); diff != "" {
		t.Error(diff)
	}
}

// TestMigrationCut has what a migration wrote reach the disk only up to each of many points, as when a process is killed between
// two writes: what is found is the old version or the new one, whole.
func TestMigrationCut(t *testing.T) {
	fulltest.Long(t)
	d := newStand(t)
	golden(t, d.dir)
	d.pass(2 * time.Hour)
	s := d.open(t)
	wal, err := os.ReadFile(filepath.Join(d.dir, fileName+"-wal"))
	must(t, err)
	if len(wal) < 5*4096 {
		t.Fatalf("the migration wrote %d bytes", len(wal))
	}
	checkGolden(t, s)
	found := map[int]int{}
	for cut := len(wal); cut >= 0; cut -= 1111 {
		c := &stand{dir: t.TempDir(), clock: d.clock}
		golden(t, c.dir)
		must(t, os.WriteFile(filepath.Join(c.dir, fileName+"-wal"), wal[:cut], 0o600))
		db, err := sql.Open("sqlite", filepath.Join(c.dir, fileName))
		must(t, err)
		var version, tables int
		must(t, db.QueryRow("SELECT user_version, (SELECT count(*) FROM sqlite_schema WHERE type = 'table') FROM pragma_user_version").Scan(&version, &tables))
		must(t, db.Close())
		found[version]++
		if want := map[int]int{1: 5, len(schema()): 12}[version]; tables != want {
			t.Errorf("version %d has %d tables", version, tables)
		}
		s := c.open(t)
		checkGolden(t, s)
		must(t, s.Close())
		if names(t, c.dir) != nil || c.log.Len() > 0 {
			t.Error(cut, c.log.String())
		}
	}
	if found[1] < 10 || found[len(schema())] < 1 {
		t.Error(found)
	}
}

// TestVersion4 opens a database as it was before the states of jobs had all that lasts: what was put off stays so until the same time,
// and how runs ended is what their outcomes say.
func TestVersion4(t *testing.T) {
	d := newStand(t)
	must(t, writeEmpty(filepath.Join(d.dir, fileName)))
	edit(t, d.dir, append(schema()[:4], fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 4", applicationID))...)
	at := d.Now().Add(time.Hour).UnixMilli()
	for i, job := range []string{"good", "failed", "partly", "deferred", "stopped", "stopped early", "none"} {
		edit(t, d.dir, fmt.Sprintf("INSERT INTO jobs VALUES (%d, '%s', 'f', 1, 2, 3, 4, 0, 5)", i+1, job))
	}
	for i, counts := range []string{"1, 1, 0, 0, 0", "0, 0, 0, 2, 0", "1, 0, 0, 1, 1", "1, 0, 0, 0, 2", "1, 0, 0, 0, 1", "0, 0, 0, 0, 0"} {
		text := ""
		if i == 5 {
			text = "list tags: dray is stopping"
		}
		edit(t, d.dir, fmt.Sprintf("INSERT INTO runs VALUES (%d, %d, 'schedule', 2, 3, %s, 0, 0, 0, 0, 0, 0, 0, 100, '%s')", i+1, i+1, counts, text))
	}
	outcome := func(run, position int, outcome, text string, retryAt int64) {
		edit(t, d.dir, fmt.Sprintf("INSERT INTO outcomes VALUES (%d, %d, 'import', '%s', '', '', '', '', '', '', '%s', '', 0, 0, 0, 0, %d)", run, position, outcome, text, retryAt))
	}
	outcome(2, 0, "failed", "first", 0)
	outcome(2, 1, "failed", "second", 0)
	outcome(3, 0, "deferred", "429", at+1)
	outcome(3, 1, "failed", "third", 0)
	outcome(4, 0, "deferred", "429", at+1000)
	outcome(4, 1, "deferred", "429", at)
	outcome(5, 0, "deferred", "dray is stopping", 0)
	all, err := d.open(t).JobStates(t.Context())
	must(t, err)
	for job, want := range map[string]struct {
		outcome  record.Result
		text     string
		deferred int64
	}{
		"good": {record.RunOK, "", 0}, "failed": {record.RunFailed, "first", 0}, "partly": {record.RunPartly, "third", at + 1},
		"deferred": {record.RunDeferred, "", at}, "stopped": {record.RunCutOff, "", 0}, "stopped early": {record.RunCutOff, "list tags: dray is stopping", 0},
	} {
		got := all[job]
		if got.Last == nil || got.Last.Outcome != want.outcome || got.Last.Error != want.text || milliseconds(got.Deferred) != want.deferred {
			t.Errorf("%s: %+v, last run %+v", job, got, got.Last)
		}
	}
	if all["none"].Last != nil || all["none"].Fingerprint != "f" {
		t.Errorf("%+v", all["none"])
	}
}
