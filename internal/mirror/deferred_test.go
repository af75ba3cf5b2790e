package mirror

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
)

func outcome(tag string, status Status, at time.Time, pulls int) Outcome {
	ref := image.Repository{Registry: "r.io", Path: "x"}.Tag(tag)
	return Outcome{Action: diff.Action{Source: ref, Target: ref}, Status: status, RetryAt: at, Cost: Cost{Pulls: pulls}}
}

func TestMergeReplacesWhatWasDeferred(t *testing.T) {
	soon, late := time.Unix(100, 0), time.Unix(200, 0)
	first := []Result{
		{Job: "a", Duration: 1, Outcomes: []Outcome{outcome("1", Imported, time.Time{}, 3), outcome("2", Deferred, late, 1), outcome("3", Deferred, soon, 0)}},
		{Job: "b", Duration: 1, Outcomes: []Outcome{outcome("1", Failed, time.Time{}, 0)}},
		{Job: "c", Duration: 1, Outcomes: []Outcome{outcome("1", Deferred, late, 0)}},
	}
	at, jobs, ok := Deferral(first)
	if !ok || !at.Equal(soon) || !cmp.Equal(jobs, []string{"a", "c"}) {
		t.Fatalf("Deferral = %v, %v, %v", at, jobs, ok)
	}
	gone := errors.New("gone")
	later := []Result{
		{Job: "a", Duration: 2, Outcomes: []Outcome{outcome("1", Kept, time.Time{}, 0), outcome("2", Imported, time.Time{}, 2)}},
		{Job: "c", Duration: 2, Err: gone},
	}
	want := []Result{
		{Job: "a", Duration: 3, Outcomes: []Outcome{outcome("1", Imported, time.Time{}, 3), outcome("2", Imported, time.Time{}, 3), outcome("3", Deferred, soon, 0)}},
		{Job: "b", Duration: 1, Outcomes: []Outcome{outcome("1", Failed, time.Time{}, 0)}},
		{Job: "c", Duration: 3, Outcomes: []Outcome{outcome("1", Failed, time.Time{}, 0)}},
	}
	want[2].Outcomes[0].Err = gone
	before := first[0].Outcomes[1].Status
	if diff := cmp.Diff(want, Merge(first, later), cmpopts.EquateErrors()); diff != "" {
		t.Error(diff)
	}
	if first[0].Outcomes[1].Status != before {
		t.Error("Merge has changed its argument")
	}
	if _, _, ok := Deferral(want[1:]); ok {
		t.Error("a failed outcome is taken for a deferred one")
	}
}
