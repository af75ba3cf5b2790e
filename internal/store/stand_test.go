package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/image"
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

// stand is a directory with its log and its clock.
type stand struct {
	dir string
	log bytes.Buffer
	*clock
}

func newStand(t testing.TB) *stand { return &stand{dir: t.TempDir(), clock: newClock()} }

func (d *stand) options() Options {
	return Options{Log: slog.New(slog.NewTextHandler(&d.log, nil)), Now: d.Now}
}

func (d *stand) open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), d.dir, d.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
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
	must(t, s.writer.QueryRow("PRAGMA data_version").Scan(&version))
	return version
}
