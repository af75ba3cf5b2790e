package postgrestest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
)

// Mortal is a server of one test, which can be killed.
type Mortal struct {
	// URL is that of an empty database.
	URL string
	dir string
}

// NewMortal starts a server that writes to the disk as one in earnest does. It ends with the test.
func NewMortal(tb testing.TB) *Mortal {
	tb.Helper()
	fulltest.Require(tb)
	dir, err := directory()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &Mortal{URL: at(dir, "postgres"), dir: dir}
	m.Start(tb)
	return m
}

// Start starts the server, as it was left.
func (m *Mortal) Start(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startPatience)
	defer cancel()
	p, err := startIn(m.dir, "")
	for err != nil && ctx.Err() == nil { // while something is left of one that was killed
		p, err = startIn(m.dir, "")
	}
	if err != nil {
		tb.Fatalf("start PostgreSQL: %v", err)
	}
	tb.Cleanup(p.stop)
}

// Kill ends the server and all that it has started with SIGKILL.
func (m *Mortal) Kill(tb testing.TB) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, "data", "postmaster.pid"))
	if err != nil {
		tb.Fatal(err)
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	pid, err := strconv.Atoi(string(first))
	if err != nil {
		tb.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil { // its children see it, and end
		tb.Fatal(err)
	}
}
