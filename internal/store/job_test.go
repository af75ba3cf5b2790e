package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/record"
)

func TestKeepJobs(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	run, state := quietRun(d, "ran", 1)
	keep(t, s, run, state)
	at := func(n int) time.Time { return d.Now().Add(time.Duration(n) * time.Millisecond) }
	state = record.State{
		Fingerprint: "f", Anchor: at(1), Started: at(2), Ended: at(3), Succeeded: at(4), Failures: 5, Deferred: at(6), Given: at(7),
		Vain: 8, Due: at(9), Trigger: "retry", Planned: "p", Asked: true, Begun: at(10), BegunBy: "manual",
	}
	want := map[string]record.State{"ran": state, "none": {}}
	for i := range 2500 {
		want[fmt.Sprintf("<job> \"%d\" \\ & ü\u2028", i)] = record.State{Anchor: at(i)}
	}
	must(t, s.KeepJobs(ctx, want))
	must(t, s.KeepJobs(ctx, nil))
	if diff := cmp.Diff(want, states(t, s)); diff != "" {
		t.Error(diff)
	}
}

// The last run of a job is the newest of its history, however many there are.
func TestLastRun(t *testing.T) {
	d := newStand(t)
	s := d.open(t)
	for i := range 3 {
		run, state := busyRun(d, "a", i+1)
		run.Outcome, run.Error = record.RunPartly, fmt.Sprint("no ", i)
		keep(t, s, run, state)
		run, state = quietRun(d, "b", i)
		keep(t, s, run, state)
		d.pass(time.Minute)
	}
	all, err := s.JobStates(t.Context())
	must(t, err)
	for _, job := range []string{"a", "b"} {
		want := history(t, s, HistoryQuery{Job: job, Limit: 1})[0]
		if diff := cmp.Diff(&want.Run, all[job].Last); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTouchJobs(t *testing.T) {
	d := newStand(t)
	s, other, ctx := d.open(t), d.open(t), t.Context()
	names := []string{"\"ü\" <&>", "none"}
	for i := range 1500 {
		names = append(names, fmt.Sprint(i))
	}
	anchors := map[string]record.State{"gone": {}}
	for _, name := range names {
		if name != "none" {
			anchors[name] = record.State{Anchor: d.Now()}
		}
	}
	must(t, s.KeepJobs(ctx, anchors))
	before := change(t, other)
	must(t, s.TouchJobs(ctx, names))
	if change(t, other) != before {
		t.Error("it wrote what was known already")
	}
	tx, err := other.begin(ctx)
	must(t, err)
	short, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.TouchJobs(short, names); err != nil {
		t.Error("it waited to write nothing:", err)
	}
	must(t, tx.Rollback())
	for range 10 {
		d.pass(20 * 24 * time.Hour)
		must(t, s.TouchJobs(ctx, names))
		must(t, s.Prune(ctx, d.Now(), 0))
	}
	_, there := states(t, s)["gone"]
	if change(t, other) == before || len(states(t, s)) != len(names)-1 || there {
		t.Error(len(states(t, s)))
	}
	d.pass(-300 * 24 * time.Hour) // a time that is yet to come is not one to believe in for long
	must(t, s.TouchJobs(ctx, names))
	d.pass(91 * 24 * time.Hour)
	must(t, s.Prune(ctx, d.Now(), 0))
	if got := states(t, s); len(got) != 0 {
		t.Error(len(got), "are left")
	}
}
