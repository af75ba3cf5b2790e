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
	state = JobState{
		Job: "ran", Fingerprint: "f", Anchor: at(1), Started: at(2), Ended: at(3), Succeeded: at(4), Failures: 5, Deferred: at(6), Given: at(7),
		Vain: 8, Due: at(9), DueTrigger: "retry", Planned: "p", Asked: true, Begun: at(10), BegunTrigger: "manual",
	}
	list, want := []JobState{state, {Job: "none"}}, map[string]JobState{"ran": state, "none": {Job: "none"}}
	for i := range 2500 {
		j := JobState{Job: fmt.Sprintf("<job> \"%d\" \\ & ü\u2028", i), Anchor: at(i)}
		list, want[j.Job] = append(list, j), j
	}
	must(t, s.KeepJobs(ctx, list))
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
		run.Outcome, run.Error = record.Partly, fmt.Sprint("no ", i)
		keep(t, s, run, state)
		run, state = quietRun(d, "b", i)
		keep(t, s, run, state)
		d.pass(time.Minute)
	}
	all, err := s.JobStates(t.Context())
	must(t, err)
	for _, job := range []string{"a", "b"} {
		want := history(t, s, HistoryQuery{Job: job, Limit: 1})[0]
		want.Outcomes = nil
		if diff := cmp.Diff(&want, all[job].Last); diff != "" {
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
	anchors := []JobState{{Job: "gone"}}
	for _, name := range names {
		if name != "none" {
			anchors = append(anchors, JobState{Job: name, Anchor: d.Now()})
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
	short, cancel := context.WithTimeout(ctx, 4*time.Second)
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
	if change(t, other) == before || len(states(t, s)) != len(names)-1 || states(t, s)["gone"].Job != "" {
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
