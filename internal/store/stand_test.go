package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/postgrestest"
)

// clock is a time that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// stand is a directory, or a database, with its log and its clock.
type stand struct {
	dir    string
	ledger string  // the URL of the database
	db     *sql.DB // the database
	log    bytes.Buffer
	*clock
}

func newStand(t testing.TB) *stand {
	d := &stand{dir: t.TempDir(), clock: newClock()}
	if strings.HasPrefix(t.Name(), "TestPostgres/") || strings.HasPrefix(t.Name(), "BenchmarkPostgres/") {
		d.ledger = postgrestest.Database(t)
	}
	return d
}

// pass sets the clock forward, and that of the database too.
func (d *stand) pass(by time.Duration) {
	d.clock.pass(by)
	if d.db == nil {
		return
	}
	if _, err := d.db.Exec("UPDATE clock SET at = $1", d.Now().UnixMilli()); err != nil {
		panic(err)
	}
}

func (d *stand) options() Options {
	return Options{Log: slog.New(slog.NewTextHandler(&d.log, nil)), Now: d.Now}
}

func (d *stand) open(t testing.TB) *Store {
	t.Helper()
	var s *Store
	var err error
	if d.ledger == "" {
		s, err = Open(t.Context(), d.dir, d.options())
	} else {
		s, err = openLedger(t, d)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// openLedger opens the database, whose clock becomes the stand's. The server finds the tables that tests name without their schema.
func openLedger(t testing.TB, d *stand) (*Store, error) {
	l, err := Join(t.Context(), d.ledger+"&search_path=dray,public", d.options())
	if err != nil {
		return nil, err
	}
	if d.db == nil {
		d.db, err = sql.Open("pgx", d.ledger)
		must(t, err)
		t.Cleanup(func() { _ = d.db.Close() })
		_, err = d.db.Exec("CREATE TABLE public.clock AS SELECT " + strconv.FormatInt(d.Now().UnixMilli(), 10) + "::bigint AS at;" +
			"CREATE OR REPLACE FUNCTION dray.now() RETURNS BIGINT LANGUAGE sql STABLE AS 'SELECT at FROM public.clock'")
		must(t, err)
	}
	return l.Store, nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func digest(i int) image.Digest { return image.DigestOf(fmt.Appendf(nil, "%d", i), "") }

func digests(from, to int) []image.Digest {
	var ds []image.Digest
	for i := from; i < to; i++ {
		ds = append(ds, digest(i))
	}
	return ds
}

func manifest(i, size int) image.Manifest {
	raw := append(fmt.Appendf(nil, "%d:", i), bytes.Repeat([]byte{'x'}, size)...)
	d := image.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: image.DigestOf(raw, ""), Size: int64(len(raw))}
	return image.Manifest{Descriptor: d, Raw: raw}
}

func repo(path string) image.Repository {
	return image.Repository{Registry: "target.test:5000", Path: path}
}

func held(t testing.TB, s *Store, r image.Repository, ds ...image.Digest) int {
	t.Helper()
	m, err := s.Holds(context.Background(), r, ds)
	must(t, err)
	return len(m)
}

func kept(t testing.TB, s *Store, m image.Manifest) bool {
	t.Helper()
	_, ok, err := s.Manifest(context.Background(), m.Digest)
	must(t, err)
	return ok
}

// change counts the commits of others that a connection has seen.
func change(t testing.TB, s *Store) (version int) {
	t.Helper()
	query := "PRAGMA data_version"
	if _, file := s.dialect.(files); !file {
		query = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint" // transactions that only read have no number
	}
	must(t, s.writer.QueryRow(query).Scan(&version))
	return version
}
