package daemon

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// Two hundred random sequences of run, defer, fail, ask, reload, stop and kill: after each restart the record of every job is what it was,
// but that a run under way was cut off, and no job is due later than before.
func TestRandomRestarts(t *testing.T) {
	for seed := range fulltest.Rounds(200, 200) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // reproducible
			result := func(name string, run int) mirror.Result {
				random := rand.New(rand.NewPCG(seed, uint64(run*10+len(name)))) //nolint:gosec // runs may be under way at once
				switch random.IntN(4) {
				case 0:
					return mirror.Result{Err: errBad}
				case 1:
					return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Deferred, RetryAt: time.Now().Add(time.Duration(random.Int64N(int64(hour))))}}}
				case 2:
					return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Imported}, {Status: record.Failed, Err: errBad}}}
				}
				return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Kept}}}
			}
			jobs := []Job{job(t, "daily", "@daily"), job(t, "every", "@every 50m"), job(t, "once", "")}
			jobs[0].Jitter = hour
			s := newStand(config{jobs: jobs, takes: 3 * minute, grace: minute, result: result})
			s.start(t)
			for step := range 20 {
				time.Sleep(time.Duration(random.Int64N(int64(90 * minute))))
				synctest.Wait()
				switch random.IntN(5) {
				case 0:
					if _, err := s.Trigger(t.Context(), jobs[random.IntN(len(jobs))].Name); err != nil {
						t.Error(err)
					}
				case 1:
					s.change(func(*config) {})
				case 2:
					s.stop(t)
					s.start(t)
				default:
					before, err := s.Snapshot(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					s.crash()
					s.start(t)
					after, err := s.Snapshot(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					for i, was := range before.Jobs {
						compare(t, fmt.Sprintf("seed %d, step %d", seed, step), was, after.Jobs[i], after.Now)
					}
				}
			}
			s.stop(t)
		})
	}
}

// compare looks at a job before and after a kill.
func compare(t *testing.T, where string, was, is record.JobStatus, now time.Time) {
	t.Helper()
	cut := !was.Started.IsZero()
	if !cut {
		if diff := cmp.Diff(was.Last, is.Last); diff != "" {
			t.Errorf("%s: %s: %s", where, was.Job, diff)
		}
	} else if is.Last == nil || is.Last.Outcome != record.RunCutOff || !is.Last.Started.Equal(was.Started) {
		t.Errorf("%s: %s was cut off, and its last run is %+v", where, was.Job, is.Last)
	}
	running := !is.Started.IsZero()
	switch {
	case cut && !running && is.Due.After(now):
		t.Errorf("%s: %s was cut off, and is due at %s", where, was.Job, is.Due)
	case !cut && !running && !was.Due.IsZero() && (is.Due.IsZero() || is.Due.After(was.Due)):
		t.Errorf("%s: %s was due at %s, and is at %s", where, was.Job, was.Due, is.Due)
	}
	if is.Failures != was.Failures || !is.LastSuccess.Equal(was.LastSuccess) {
		t.Errorf("%s: %s: %d failures since %s became %d since %s", where, was.Job, was.Failures, was.LastSuccess, is.Failures, is.LastSuccess)
	}
}
