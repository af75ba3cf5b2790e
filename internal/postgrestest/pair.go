package postgrestest

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/fulltest"
)

// Pair is a server of one test with a standby that follows it, a moment behind.
type Pair struct {
	// URL is that of an empty database, at whichever of the two takes writes.
	URL string
	*Mortal
	standby Mortal
}

// NewPair starts both. They end with the test.
func NewPair(tb testing.TB) *Pair {
	tb.Helper()
	fulltest.Require(tb)
	first := NewMortal(tb)
	dir, err := directory()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &Pair{Mortal: first, standby: Mortal{URL: at(dir, "postgres"), dir: dir}}
	p.URL = at(first.dir+","+dir, "postgres") + "&target_session_attrs=read-write"
	p.run(tb, "pg_basebackup", "-h", first.dir, "-U", "dray", "-D", filepath.Join(dir, "data"), "-R", "-X", "stream", "-c", "fast")
	p.standby.Start(tb)
	return p
}

// LagBehind has the standby receive no more of what the server commits. It returns once all that was committed before is there.
func (p *Pair) LagBehind(tb testing.TB) {
	tb.Helper()
	var at, receiver string
	p.ask(tb, p.Mortal.URL, "SELECT pg_current_wal_flush_lsn()::text", &at)
	ctx, cancel := context.WithTimeout(tb.Context(), startPatience)
	defer cancel()
	for there := false; !there; {
		if ctx.Err() != nil {
			tb.Fatal("the standby does not follow")
		}
		p.ask(tb, p.standby.URL, "SELECT pg_last_wal_replay_lsn() >= '"+at+"'", &there)
	}
	p.ask(tb, p.standby.URL, "SELECT pid::text FROM pg_stat_wal_receiver", &receiver)
	p.run(tb, "sh", "-c", "kill -STOP "+receiver)
	tb.Cleanup(func() { _ = exec.CommandContext(context.Background(), "kill", "-KILL", receiver).Run() }) //nolint:gosec // a process id
}

// FailOver kills the server, and has the standby take writes.
func (p *Pair) FailOver(tb testing.TB) {
	tb.Helper()
	p.Kill(tb)
	var receiver sql.NullString
	p.ask(tb, p.standby.URL, "SELECT max(pid)::text FROM pg_stat_wal_receiver", &receiver)
	if receiver.String != "" { // it may be stopped, and would hold up what follows
		p.run(tb, "sh", "-c", "kill -TERM "+receiver.String+"; kill -CONT "+receiver.String)
	}
	p.run(tb, "pg_ctl", "promote", "-w", "-D", filepath.Join(p.standby.dir, "data"))
}

func (*Pair) ask(tb testing.TB, url, query string, answer any) {
	tb.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(tb.Context(), query).Scan(answer); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
}

// run runs a program as the user of the servers.
func (p *Pair) run(tb testing.TB, program string, args ...string) {
	tb.Helper()
	bin, err := programs()
	if err != nil {
		tb.Fatal(err)
	}
	attr, err := unprivileged()
	if err != nil {
		tb.Fatal(err)
	}
	if strings.HasPrefix(program, "pg_") {
		program = filepath.Join(bin, program)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), startPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.SysProcAttr = p.dir, attr
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v: %s", program, err, out)
	}
}
