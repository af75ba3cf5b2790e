package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
)

// numbered is the run of a number: all that is in it follows from that.
func numbered(job string, n int) (record.JobRun, record.State) {
	at := time.UnixMilli(int64(1_700_000_000_000 + n)).UTC()
	run := record.JobRun{Job: job, Run: record.Run{Trigger: "schedule", Started: at, Ended: at, Counts: record.Counts{Pulls: n, Import: n % 7}}}
	for i := range n % 7 {
		run.Actions = append(run.Actions, record.Action{Op: "import", Outcome: "imported", Target: fmt.Sprint("t:", n, "-", i), Pulls: n})
	}
	return run, record.State{Fingerprint: strconv.Itoa(n), Started: at, Ended: at, Failures: n}
}

// runsChild keeps runs without end: numbered ones of one job, and quiet ones of another. Their jobs are named for the child.
func runsChild(ctx context.Context, dir, name string) error {
	s, err := Open(ctx, dir, Options{Now: time.Now})
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		run, state := numbered(name, n)
		if err := s.KeepRun(ctx, run, state); err != nil {
			return err
		}
		quiet := record.JobRun{Job: name + "-quiet", Run: record.Run{Outcome: record.RunOK, Counts: record.Counts{Keep: 1000}}}
		if err := s.KeepRun(ctx, quiet, record.State{Failures: n}); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

// migrationsChild brings the databases in the directories below dir to the newest version, one after the other.
func migrationsChild(ctx context.Context, dir string) error {
	for n := 1; ; n++ {
		s, err := Open(ctx, filepath.Join(dir, strconv.Itoa(n)), Options{Now: time.Now})
		if err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

// killAfter starts a child, kills it once it has said a number of lines, and returns how many it said.
func killAfter(t *testing.T, lines int, dir string, args ...string) (said int) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	c := exec.CommandContext(t.Context(), self, args...)
	c.Env = append(os.Environ(), childDir+"="+dir)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	scanner := bufio.NewScanner(out)
	for said < lines && scanner.Scan() {
		said++
	}
	must(t, c.Process.Kill())
	for scanner.Scan() { // what it has said before it died counts too
		said++
	}
	_, _ = io.Copy(io.Discard, out)
	_ = c.Wait()
	if said < lines {
		t.Fatalf("the child ended by itself after %d lines", said)
	}
	return said
}

func TestRunsKilled(t *testing.T) {
	d := newStand(t)
	confirmed := map[string]int{}
	for k := range int(fulltest.Rounds(5, 30)) { //nolint:gosec // a small number
		name := fmt.Sprint("k", k)
		confirmed[name] = killAfter(t, 1+7*k%40, d.dir, "runs", name)
		s := d.open(t)
		checkRuns(t, s, confirmed)
		must(t, s.Close())
	}
	if names(t, d.dir) != nil || d.log.Len() > 0 {
		t.Error(names(t, d.dir), d.log.String())
	}
	must(t, writeEmpty(filepath.Join(d.dir, fileName+damagedSuffix)))
	checkRuns(t, d.open(t), confirmed) // has looked through the whole file
}

// checkRuns looks for every run that was confirmed, and that what is there is whole: at most one run more than was confirmed.
func checkRuns(t *testing.T, s *Store, confirmed map[string]int) {
	t.Helper()
	all := states(t, s)
	for name, n := range confirmed {
		runs := history(t, s, HistoryQuery{Job: name, Limit: 1000})
		last := len(runs)
		if last < n || last > n+1 {
			t.Fatalf("%s: %d runs, confirmed were %d", name, last, n)
		}
		for i, got := range runs {
			want, _ := numbered(name, last-i)
			if got.Counts.Pulls != want.Counts.Pulls || got.Counts.Import != want.Counts.Import || len(got.Actions) != len(want.Actions) {
				t.Fatalf("%s: run %d is %v", name, last-i, got)
			}
			for j, o := range got.Actions {
				if o != want.Actions[j] {
					t.Fatalf("%s: run %d: %v", name, last-i, o)
				}
			}
		}
		if _, want := numbered(name, last); !cmp.Equal(all[name], want) {
			t.Fatalf("%s: the state is not that of the last run: %v", name, all[name])
		}
		quiet := history(t, s, HistoryQuery{Job: name + "-quiet"})
		if len(quiet) == 0 && n == 0 {
			continue
		}
		if len(quiet) != 1 || quiet[0].Repeats+1 < n || quiet[0].Repeats+1 > n+1 || all[name+"-quiet"].Failures != quiet[0].Repeats+1 {
			t.Fatalf("%s: confirmed were %d, quiet are %v, the state is %v", name, n, quiet, all[name+"-quiet"])
		}
	}
}

func TestMigrationKilled(t *testing.T) {
	const copies = 40
	for k := range int(fulltest.Rounds(4, 15)) { //nolint:gosec // a small number
		d := newStand(t)
		d.pass(2 * time.Hour)
		for n := range copies {
			golden(t, filepath.Join(d.dir, strconv.Itoa(n+1)))
		}
		said := killAfter(t, 1+k%8, d.dir, "migrations")
		for n := range min(said+2, copies) {
			c := &stand{dir: filepath.Join(d.dir, strconv.Itoa(n+1)), clock: d.clock}
			s := c.open(t)
			checkGolden(t, s)
			must(t, s.Close())
			if names(t, c.dir) != nil || c.log.Len() > 0 {
				t.Error(c.log.String())
			}
		}
	}
}

// TestRunsOfProcesses has a second process keep runs of the same job.
func TestRunsOfProcesses(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	var group sync.WaitGroup
	var said int
	group.Go(func() { said = killAfter(t, 60, d.dir, "runs", "a") })
	for n := range 60 {
		run, state := numbered("a", 1000+n)
		keep(t, s, run, state)
	}
	group.Wait()
	mine, others, last := 0, 0, int64(1<<62)
	for _, r := range history(t, s, HistoryQuery{Job: "a", Limit: 1000}) {
		if r.ID >= last || len(r.Actions) != r.Counts.Pulls%7 {
			t.Error(r)
		}
		if last = r.ID; r.Counts.Pulls >= 1000 {
			mine++
		} else {
			others++
		}
		for _, o := range r.Actions {
			if !strings.HasPrefix(o.Target, fmt.Sprint("t:", r.Counts.Pulls, "-")) {
				t.Error(r)
			}
		}
	}
	if mine != 60 || others < said || others > said+1 {
		t.Error(mine, others, said)
	}
}
