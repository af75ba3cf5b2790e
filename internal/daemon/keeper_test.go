package daemon

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/record"
)

// others hands out jobs as one does that shares them with others.
type others struct {
	Work
	// wake is what Wake returns.
	wake chan struct{}
	// took, ends and back are called after each claim, end and return that went well.
	took func(claim *record.Claim)
	ends func(claim *record.Claim)
	back func(claim *record.Claim)
	// away is how long it takes until Take fails; zero for not.
	away atomic.Int64
}

func (o *others) Take(ctx context.Context, full []string) (*record.Claim, time.Time, error) {
	if away := time.Duration(o.away.Load()); away > 0 {
		return nil, time.Time{}, errors.Join(sleep(ctx, away), errBad)
	}
	claim, next, err := o.Work.Take(ctx, full)
	if claim != nil && o.took != nil {
		o.took(claim)
	}
	return claim, next, err
}

func (o *others) End(ctx context.Context, claim *record.Claim, run record.JobRun, state record.State) error {
	err := o.Work.End(ctx, claim, run, state)
	if err == nil && o.ends != nil {
		o.ends(claim)
	}
	return err
}

func (o *others) GiveBack(ctx context.Context, claim *record.Claim) error {
	err := o.Work.GiveBack(ctx, claim)
	if err == nil && o.back != nil {
		o.back(claim)
	}
	return err
}

func (o *others) Wake() <-chan struct{} { return o.wake }

// withOthers starts a daemon whose work others hand out.
func withOthers(t *testing.T, c config, o *others, f func(t *testing.T, s *stand)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(c)
		s.wrap = func(work Work) Work { o.Work, o.wake = work, make(chan struct{}); return o }
		s.start(t)
		f(t, s)
		s.stop(t)
	})
}

// The end of a run may be known to others, who hand the job out again, before the daemon's loop hears of it: then the next run begins after
// that, once.
func TestEndIsToldLate(t *testing.T) {
	for name, stopped := range map[string]bool{"goes on": false, "stops meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			var slow atomic.Bool
			var claims, back atomic.Int32
			o := &others{
				took: func(*record.Claim) { claims.Add(1) }, back: func(*record.Claim) { back.Add(1) },
				ends: func(*record.Claim) {
					if slow.Load() {
						time.Sleep(minute)
					}
				},
			}
			withOthers(t, config{jobs: []Job{job(t, "a", "@daily")}, parallel: 2, takes: 10 * time.Second, grace: hour}, o, func(t *testing.T, s *stand) {
				time.Sleep(hour)
				slow.Store(true)
				for range 2 {
					if _, err := s.Trigger(t.Context(), "a"); err != nil {
						t.Fatal(err)
					}
					time.Sleep(20 * time.Second) // the first run has ended in between
				}
				if n := claims.Load(); n != 3 {
					t.Fatalf("%d claims before the end is told", n)
				}
				want, returned := []time.Duration{0, hour, hour + 70*time.Second}, int32(0)
				if stopped {
					close(s.halt)
					s.halt = make(chan struct{})
					want, returned = want[:2], 1
				}
				time.Sleep(10 * minute)
				if diff := cmp.Diff(want, s.runs("a")); diff != "" || back.Load() != returned {
					t.Errorf("runs (-want +got), with %d claims given back: %s", back.Load(), diff)
				}
			})
		})
	}
}

// A run whose claim is lost ends, and is not recorded; the job goes on when it is handed out again.
func TestClaimIsLost(t *testing.T) {
	var lost []chan struct{}
	o := &others{took: func(claim *record.Claim) {
		lost = append(lost, make(chan struct{}))
		claim.Lost = lost[len(lost)-1]
	}}
	withOthers(t, config{jobs: []Job{job(t, "a", "@daily"), job(t, "b", "@daily")}, parallel: 2, takes: hour}, o, func(t *testing.T, s *stand) {
		time.Sleep(minute)
		close(lost[0])
		synctest.Wait()
		s.mu.Lock()
		under, ends := len(s.under), len(s.kept)
		s.mu.Unlock()
		if under != 1 || ends != 0 || s.count(&s.events, "ran") != 0 {
			t.Errorf("%d runs are under way and %d recorded: %q", under, ends, s.list(&s.events))
		}
		time.Sleep(2 * hour)
		synctest.Wait()
		if n := s.count(&s.events, "ran"); n != 1 {
			t.Errorf("%d runs are told of: %q", n, s.list(&s.events))
		}
	})
}

// A job that was handed out as it is no longer is given back, and runs as it is.
func TestClaimOfAnotherGeneration(t *testing.T) {
	var back atomic.Int32
	hold, held := make(chan struct{}), atomic.Bool{}
	o := &others{back: func(*record.Claim) { back.Add(1) }, took: func(*record.Claim) {
		if held.Load() {
			<-hold
		}
	}}
	c := config{jobs: []Job{job(t, "a", "@daily"), job(t, "gone", "@daily"), job(t, "same", "@daily")}, parallel: 3}
	synctest.Test(t, func(t *testing.T) {
		hold = make(chan struct{})
		s := newStand(c)
		s.wrap = func(work Work) Work { o.Work = work; return o }
		s.start(t)
		time.Sleep(hour)
		held.Store(true)
		for _, j := range c.jobs {
			if _, err := s.Trigger(t.Context(), j.Name); err != nil {
				t.Fatal(err)
			}
		}
		s.change(func(c *config) { c.jobs = []Job{job(t, "a", "@daily", "changed"), job(t, "same", "@daily")} })
		if n := s.count(&s.events, "reloaded 2"); n != 0 {
			t.Error("the jobs count as offered while others are being taken")
		}
		held.Store(false)
		close(hold)
		synctest.Wait()
		if n := s.count(&s.events, "reloaded 2"); n != 1 {
			t.Errorf("%d reloads", n)
		}
		time.Sleep(minute)
		if last := s.begunLast("a"); last != "a @daily changed" || len(s.runs("a")) != 2 || len(s.runs("gone")) != 1 || len(s.runs("same")) != 2 {
			t.Errorf("it ran %d times, the last time as %q; the job that is gone %d times, the one that is the same %d times",
				len(s.runs("a")), last, len(s.runs("gone")), len(s.runs("same")))
		}
		if back.Load() != 2 {
			t.Errorf("%d claims were given back", back.Load())
		}
		s.stop(t)
	})
}

// While who hands out work does not answer, the daemon does, and it takes a new config when that is over.
func TestWorkIsAway(t *testing.T) {
	o := &others{}
	withOthers(t, config{jobs: []Job{job(t, "a", "@every 1h")}}, o, func(t *testing.T, s *stand) {
		for round := range 2 {
			o.away.Store(int64(10 * minute))
			time.Sleep(hour + minute)
			if j := s.status(t, "a"); j.State != record.JobWaiting {
				t.Errorf("%+v", j)
			}
			o.away.Store(0)
			if round > 0 {
				s.change(func(*config) {})
			}
			if n := s.count(&s.events, "reloaded 2"); n != 0 {
				t.Error("a config counts as taken whose jobs were not offered")
			}
			time.Sleep(10 * minute)
		}
		want := []time.Duration{0, hour + 10*minute + takePause, 2*hour + 20*minute + takePause}
		if diff := cmp.Diff(want, s.runs("a")); diff != "" {
			t.Error(diff)
		}
		if n := s.count(&s.events, "reloaded 2"); n != 1 {
			t.Errorf("%d reloads", n)
		}
		o.away.Store(int64(hour)) // a stop does not wait for it
		time.Sleep(hour)
	})
}

// A job that others have made due runs once that is known.
func TestWake(t *testing.T) {
	o := &others{}
	withOthers(t, config{jobs: []Job{job(t, "a", "@daily")}}, o, func(t *testing.T, s *stand) {
		time.Sleep(minute)
		if _, err := s.options.Plans.Ask(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(minute)
		o.wake <- struct{}{}
		time.Sleep(minute)
		if diff := cmp.Diff([]time.Duration{0, 2 * minute}, s.runs("a")); diff != "" {
			t.Error(diff)
		}
	})
}
