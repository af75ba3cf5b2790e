package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKeepAnchors(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	run, state := quietRun(d, "ran", 1)
	keep(t, s, run, state)
	anchor := d.Now().Add(-time.Minute)
	anchors, want := map[string]time.Time{"ran": anchor, "none": {}}, map[string]JobState{"none": {Job: "none"}}
	for i := range 2500 {
		name := fmt.Sprintf("<job> \"%d\" \\ & ü\u2028", i)
		anchors[name] = anchor.Add(time.Duration(i) * time.Millisecond)
		want[name] = JobState{Job: name, Anchor: anchors[name]}
	}
	state.Anchor = anchor
	want["ran"] = state
	must(t, s.KeepAnchors(ctx, anchors))
	must(t, s.KeepAnchors(ctx, nil))
	if diff := cmp.Diff(want, states(t, s)); diff != "" {
		t.Error(diff)
	}
	must(t, s.KeepAnchors(ctx, map[string]time.Time{"ran": d.Now()}))
	state.Anchor = d.Now()
	if diff := cmp.Diff(state, states(t, s)["ran"]); diff != "" {
		t.Error(diff)
	}
}

func TestTouchJobs(t *testing.T) {
	d := newStand(t)
	s, other, ctx := d.open(t), d.open(t), t.Context()
	names := []string{"\"ü\" <&>", "none"}
	for i := range 1500 {
		names = append(names, fmt.Sprint(i))
	}
	anchors := map[string]time.Time{"gone": d.Now()}
	for _, name := range names {
		anchors[name] = d.Now()
	}
	delete(anchors, "none")
	must(t, s.KeepAnchors(ctx, anchors))
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
