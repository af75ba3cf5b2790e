package store

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	if places, err := s.Places(ctx, repo("a").Registry, digest(1)); len(places) != 1 || err != nil {
		t.Error(places, err)
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
	if s, err := open(t.Context(), d.dir, d.options(), append(steps, "INSERT INTO more VALUES (5); INSERT INTO nowhere VALUES (1)")); err == nil || !strings.Contains(err.Error(), "version 4") {
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
			if err := s.reader.QueryRow("SELECT count(*), max(x), (SELECT user_version FROM pragma_user_version) FROM more").Scan(&rows, &x, &version); err != nil || rows != 1 || x != 2 || version != 3 {
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
