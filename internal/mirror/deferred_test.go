package mirror

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

func outcome(tag string, status record.Status, at time.Time, pulls int) Outcome {
	ref := image.Repository{Registry: "r.io", Path: "x"}.Tag(tag)
	return Outcome{Action: diff.Action{Source: ref, Target: ref}, Status: status, RetryAt: at, Cost: Cost{Pulls: pulls}}
}

// What an image lacks is said beside what became of its other platforms, also after several runs.
func TestMergeKeepsWhatIsShort(t *testing.T) {
	short := func(name string) Outcome {
		out := outcome(name, record.Refused, time.Time{}, 0)
		out.Op, out.Reason = diff.Refuse, diff.PlatformMissing
		return out
	}
	first := []Result{{Job: "a", Outcomes: []Outcome{
		outcome("1", record.Deferred, time.Unix(100, 0), 1), short("1"), short("2"), outcome("3", record.Deferred, time.Unix(100, 0), 1), short("3"),
	}}}
	// 2 and 3 have all platforms now.
	later := []Result{{Job: "a", Outcomes: []Outcome{
		outcome("1", record.Imported, time.Time{}, 1), short("1"), outcome("2", record.Imported, time.Time{}, 1), outcome("3", record.Imported, time.Time{}, 1),
	}}}
	want := []Result{{Job: "a", Outcomes: []Outcome{
		outcome("1", record.Imported, time.Time{}, 2), short("1"), outcome("2", record.Imported, time.Time{}, 1), outcome("3", record.Imported, time.Time{}, 2),
	}}}
	if diff := cmp.Diff(want, Merge(first, later)); diff != "" {
		t.Error(diff)
	}
}

func TestMergeReplacesWhatWasDeferred(t *testing.T) {
	soon, late := time.Unix(100, 0), time.Unix(200, 0)
	first := []Result{
		{Job: "a", Duration: 1, Outcomes: []Outcome{
			outcome("0", record.Failed, time.Time{}, 2), outcome("1", record.Imported, time.Time{}, 3), outcome("2", record.Deferred, late, 1), outcome("3", record.Deferred, soon, 0),
			outcome("5", record.Imported, time.Time{}, 3),
		}},
		{Job: "b", Duration: 1, Outcomes: []Outcome{outcome("1", record.Failed, time.Time{}, 0)}},
		{Job: "c", Duration: 1, Outcomes: []Outcome{outcome("1", record.Deferred, late, 0)}},
	}
	at, jobs, ok := Deferral(first)
	if !ok || !at.Equal(soon) || !cmp.Equal(jobs, []string{"a", "c"}) {
		t.Fatalf("Deferral = %v, %v, %v", at, jobs, ok)
	}
	gone := errors.New("gone")
	later := []Result{
		// 3 is gone, 4 has come, 0 is available now, and 5 has moved since and does not fit.
		{Job: "a", Duration: 2, Outcomes: []Outcome{
			outcome("0", record.Kept, time.Time{}, 1), outcome("1", record.Kept, time.Time{}, 0), outcome("2", record.Imported, time.Time{}, 2),
			outcome("4", record.Failed, time.Time{}, 1), outcome("5", record.Deferred, late, 0),
		}},
		{Job: "c", Duration: 2, Err: gone},
	}
	want := []Result{
		{Job: "a", Duration: 3, Outcomes: []Outcome{
			outcome("0", record.Kept, time.Time{}, 3), outcome("1", record.Imported, time.Time{}, 3), outcome("2", record.Imported, time.Time{}, 3),
			outcome("4", record.Failed, time.Time{}, 1), outcome("5", record.Deferred, late, 3),
		}},
		{Job: "b", Duration: 1, Outcomes: []Outcome{outcome("1", record.Failed, time.Time{}, 0)}},
		{Job: "c", Duration: 3, Outcomes: []Outcome{outcome("1", record.Failed, time.Time{}, 0)}},
	}
	want[2].Outcomes[0].Err = gone
	before := first[0].Outcomes[2].Status
	if diff := cmp.Diff(want, Merge(first, later), cmpopts.EquateErrors()); diff != "" {
		t.Error(diff)
	}
	if first[0].Outcomes[2].Status != before {
		t.Error("Merge has changed its argument")
	}
	if _, _, ok := Deferral(want[1:]); ok {
		t.Error("a failed outcome is taken for a deferred one")
	}
}

// What is deferred is tried when its registry allows it, and in a pause that grows where that brings nothing.
func TestAgain(t *testing.T) {
	now := time.Unix(1000, 0)
	for vain, want := range map[int]time.Duration{0: time.Second, 3: 8 * time.Second, 7: time.Minute, 1000: time.Minute} {
		if got := Again(now.Add(-time.Hour), now, vain).Sub(now); got != want {
			t.Errorf("after %d fruitless tries the pause is %s, want %s", vain, got, want)
		}
	}
	if at := now.Add(time.Hour); !Again(at, now, 0).Equal(at) {
		t.Error("it is tried before its time")
	}
}
