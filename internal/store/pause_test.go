package store

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/record"
)

func TestPauses(t *testing.T) {
	d := newStand(t)
	s, ctx := d.open(t), t.Context()
	want := map[string]record.Pause{
		"":                         {Since: d.Now().UTC(), By: "ann", All: true},
		"library/<job> \"ü\\u2028": {Since: d.Now().Add(time.Hour).UTC(), Reason: "it's \x00 moved"},
	}
	for job, p := range want {
		must(t, s.KeepPause(ctx, job, record.Pause{By: "before"}))
		must(t, s.KeepPause(ctx, job, p))
	}
	must(t, s.KeepPause(ctx, "over", record.Pause{Reason: strings.Repeat("x", 100_000)}))
	if all, err := s.Pauses(ctx); err != nil || len(all["over"].Reason) > 5000 {
		t.Error(len(all["over"].Reason), err)
	}
	must(t, s.DropPauses(ctx, []string{"over", "never"}))
	if err := s.KeepPause(ctx, "a\x00", record.Pause{}); err == nil {
		t.Error("what is no name of a job is kept")
	}
	other := d.open(t) // as a process does that starts after this one was killed
	got, err := other.Pauses(ctx)
	must(t, err)
	p := want["library/<job> \"ü\\u2028"]
	p.Reason = "it's \ufffd moved"
	want["library/<job> \"ü\\u2028"] = p
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A store that keeps nothing any more refuses a pause.
func TestPausesOfADamagedStore(t *testing.T) {
	s := newStand(t).open(t)
	s.damaged.Store(true)
	if err := s.KeepPause(t.Context(), "a", record.Pause{}); err == nil {
		t.Error("a pause that is not kept is taken")
	}
	if err := s.DropPauses(t.Context(), []string{"a"}); err == nil {
		t.Error("the end of a pause that is not kept is taken")
	}
	if all, err := s.Pauses(t.Context()); len(all) > 0 || err != nil {
		t.Error(all, err)
	}
}
