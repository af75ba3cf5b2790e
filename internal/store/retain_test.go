package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/record"
)

const day = 24 * time.Hour

// rows counts those of a table.
func rows(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	must(t, s.reader.QueryRow("SELECT count(*) FROM "+table).Scan(&n))
	return n
}

func TestPruneRuns(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	keepBusy := func(job string, pulls int) {
		run, state := busyRun(d, job, 2)
		run.Counts.Pulls = pulls
		keep(t, s, run, state)
	}
	keepBusy("silent", 0)
	keepBusy("silent", 1)
	for i := range 250 {
		keepBusy("often", i)
	}
	for i := range 100 {
		keepBusy("daily", i)
		d.pass(day)
	}
	must(t, s.TouchJobs(ctx, []string{"silent", "often", "daily"}))
	must(t, s.Prune(ctx, d.Now(), 0))
	for job, want := range map[string][2]int{"silent": {1, 1}, "often": {1, 249}, "daily": {90, 10}} {
		runs := history(t, s, HistoryQuery{Job: job, Limit: 1000})
		if len(runs) != want[0] || runs[len(runs)-1].Counts.Pulls != want[1] {
			t.Errorf("%s: %d runs are left", job, len(runs))
		}
	}
	for i := range 250 {
		keepBusy("often", i)
	}
	must(t, s.Prune(ctx, d.Now(), 0))
	runs := history(t, s, HistoryQuery{Job: "often", Limit: 1000})
	if len(runs) != 200 || runs[199].Counts.Pulls != 50 || rows(t, s, "outcomes") != 2*rows(t, s, "runs") || rows(t, s, "jobs") != 3 {
		t.Error(len(runs), rows(t, s, "outcomes"), rows(t, s, "runs"))
	}
}

// TestPruneManyRuns drops more runs than are looked up at once.
func TestPruneManyRuns(t *testing.T) {
	fulltest.Long(t)
	d := newStand(t)
	s := d.open(t)
	for i := range 60 {
		run, state := busyRun(d, fmt.Sprint(i), 0)
		keep(t, s, run, state)
	}
	_, err := s.writer.Exec("WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 450) " +
		"INSERT INTO runs (job, quiet, " + runColumns + ") SELECT job, quiet, " + runColumns + " FROM n, runs")
	must(t, err)
	must(t, s.Prune(t.Context(), d.Now(), 0))
	var least, most int
	must(t, s.reader.QueryRow("SELECT min(n), max(n) FROM (SELECT count(*) n FROM runs GROUP BY job) counted").Scan(&least, &most))
	if least != 200 || most != 200 || rows(t, s, "jobs") != 60 {
		t.Error(least, most)
	}
	must(t, s.Prune(t.Context(), d.Now(), 1))
	if rows(t, s, "runs") != 60 || rows(t, s, "jobs") != 60 {
		t.Error(rows(t, s, "runs"), rows(t, s, "jobs"))
	}
}

func TestPruneJobs(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	anchors := map[string]record.State{}
	for i := range 50 {
		run, state := busyRun(d, fmt.Sprint("ran", i), 3)
		keep(t, s, run, state)
		anchors[fmt.Sprint("anchored", i)] = record.State{Anchor: d.Now()}
	}
	must(t, s.KeepJobs(ctx, anchors))
	d.pass(89 * day)
	run, state := quietRun(d, "ran7", 1)
	keep(t, s, run, state)
	must(t, s.KeepJobs(ctx, map[string]record.State{"anchored7": {Anchor: d.Now()}}))
	must(t, s.TouchJobs(ctx, []string{"ran8", "none"}))
	must(t, s.Prune(ctx, d.Now(), 0))
	if got := len(states(t, s)); got != 100 {
		t.Errorf("%d jobs after 89 days", got)
	}
	d.pass(2 * day)
	must(t, s.Prune(ctx, d.Now(), 0))
	got := states(t, s)
	if len(got) != 3 || got["ran7"].Anchor.IsZero() || got["anchored7"].Anchor.IsZero() || got["ran8"].Anchor.IsZero() {
		t.Error(got)
	}
	if rows(t, s, "runs") != 2 || rows(t, s, "outcomes") != 3 {
		t.Error(rows(t, s, "runs"), rows(t, s, "outcomes"))
	}
}

func TestPruneRunsBySize(t *testing.T) {
	const size = 4 << 20
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	must(t, s.PutManifest(ctx, manifest(1, 1000)))
	for i := range 30 { // each takes about 60 kB
		for _, job := range []string{"a", "b", fmt.Sprint("once", i)} {
			run, state := busyRun(d, job, 60)
			for j := range run.Actions {
				run.Actions[j].Error = strings.Repeat("x", 900)
			}
			run.Error, run.Counts.Pulls = "ü", i
			keep(t, s, run, state)
		}
	}
	must(t, s.Prune(ctx, d.Now().Add(-day), size))
	total, stripped := 0, 0
	for _, r := range history(t, s, HistoryQuery{Limit: 1000}) {
		total += runBytes(&r)
		if len(r.Actions) == 0 {
			stripped++
			if r.More != 60 || r.Counts.Import != 60 || r.Error != "ü" || !strings.HasPrefix(r.Job, "once") {
				t.Error(r)
			}
		} else if stripped > 0 || len(r.Actions) != 60 || r.More != 0 {
			t.Error("an older run has outcomes", r.Job, r.Counts.Pulls)
		}
	}
	var noted int
	must(t, s.reader.QueryRow("SELECT sum(size) FROM runs").Scan(&noted))
	if total > size/historyShare+30*200 || total < size/historyShare-100_000 || noted != total || stripped < 20 || len(states(t, s)) != 32 {
		t.Error(total, noted, stripped)
	}
	if !kept(t, s, manifest(1, 1000)) {
		t.Error("the history took the manifest's place")
	}
	other := d.open(t)
	before := change(t, other)
	must(t, s.fitRuns(ctx, int64(total)))
	if change(t, other) != before {
		t.Error("a second time there was something to drop")
	}
	must(t, s.Prune(ctx, d.Now(), 1))
	if rows(t, s, "runs") != 32 || rows(t, s, "outcomes") != 0 || len(states(t, s)) != 32 {
		t.Error(rows(t, s, "runs"), rows(t, s, "outcomes"))
	}
}
