package daemon

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/google/go-cmp/cmp"
)

// A reload leaves a job alone that it does not touch: its due time and its run. A changed one ends its run and runs anew, a new
// one runs at once, and one that is gone ends.
func TestReload(t *testing.T) {
	c := config{jobs: []Job{job(t, "same", "@every 1h"), job(t, "changed", "@every 1h"), job(t, "gone", "@every 1h"), job(t, "idle", "0 12 * * *")}, parallel: 9, takes: 10 * minute}
	inBubble(t, c, func(t *testing.T, s *stand) {
		time.Sleep(65 * minute)
		s.change(func(c *config) {
			c.jobs = []Job{job(t, "new", "@every 1h"), job(t, "idle", "0 12 * * *"), job(t, "changed", "@every 1h", "more"), job(t, "same", "@every 1h")}
		})
		time.Sleep(61 * minute)
		for name, want := range map[string][]time.Duration{
			"same": {0, 60 * minute, 120 * minute}, "changed": {0, 60 * minute, 70 * minute, 120 * minute}, "gone": {0, 60 * minute},
			"new": {65 * minute, 125 * minute}, "idle": {0},
		} {
			if diff := cmp.Diff(want, s.runs(name)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		if s.count(&s.events, "removed gone") != 1 || s.count(&s.events, "removed") != 1 || s.count(&s.events, "reloaded 2: <nil>") != 1 {
			t.Errorf("%q", s.list(&s.events))
		}
		if n := s.count(&s.events, "ran gone"); n != 1 {
			t.Errorf("a job that is gone has left %d runs", n)
		}
		if s.gone() != 1 {
			t.Errorf("%d generations are closed", s.gone())
		}
	})
}

// A config of which some files have mistakes is taken over, and says so until they are corrected.
func TestPartlyRejected(t *testing.T) {
	first := errors.New("a.yaml:1:1: mistake")
	inBubble(t, config{jobs: []Job{job(t, "a", "@every 1h")}, rejected: first}, func(t *testing.T, s *stand) {
		says := func(jobs, generation int, partly bool, rejected ...string) {
			t.Helper()
			got, err := s.Snapshot(t.Context())
			c := got.Config
			if err != nil || len(got.Jobs) != jobs || c.Generation != generation || c.Partly != partly || !slices.Equal(c.Rejected, rejected) {
				t.Errorf("%d jobs, %+v, %v", len(got.Jobs), c, err)
			}
		}
		says(1, 1, true, first.Error())
		s.change(func(c *config) { c.jobs = append(c.jobs, job(t, "b", "@every 1h")) })
		says(2, 2, true, first.Error())
		if err := s.Reload(t.Context(), "http"); !errors.Is(err, first) {
			t.Errorf("a reload says %v", err)
		}
		s.change(func(c *config) { c.err = errors.New("dray.yaml:1:1: mistake") })
		says(2, 3, false, "dray.yaml:1:1: mistake")
		s.change(func(c *config) { c.err, c.rejected = nil, nil })
		says(2, 4, false)
		for text, want := range map[string]int{"reloaded 1: a.yaml": 1, "reloaded 2: a.yaml": 1, "reloaded 3: a.yaml": 1, "reloaded 3: dray.yaml": 1, "reloaded 4: <nil>": 1} {
			if got := s.count(&s.events, text); got != want {
				t.Errorf("%d times %q: %q", got, text, s.list(&s.events))
			}
		}
	})
}

// What the run of a job defers says nothing about the job that it has become meanwhile, which is due at once.
func TestChangedWhileDeferring(t *testing.T) {
	result := func(name string, _ int) mirror.Result {
		if name == "long" {
			return mirror.Result{}
		}
		return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Deferred, RetryAt: epoch.Add(day)}}}
	}
	inBubble(t, config{jobs: []Job{job(t, "a", "@daily")}, takes: hour, result: result}, func(t *testing.T, s *stand) {
		time.Sleep(minute)
		s.change(func(c *config) {
			long := job(t, "long", "")
			long.Priority = 1
			c.jobs = []Job{job(t, "a", "@daily", "changed"), long}
		})
		time.Sleep(hour)
		if j := s.status(t, "a"); j.State != record.JobWaiting || j.Trigger != record.First || !j.DeferredUntil.IsZero() || !j.Due.Equal(epoch.Add(hour)) {
			t.Errorf("%+v", j)
		}
	})
}

// What a run has deferred is made when it may be if the job is as it was by then, whatever it was between.
func TestChangedThereAndBackWhileDeferred(t *testing.T) {
	result := func(_ string, run int) mirror.Result {
		if run > 1 {
			return mirror.Result{}
		}
		return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Deferred, RetryAt: epoch.Add(12 * hour)}}}
	}
	inBubble(t, config{jobs: []Job{job(t, "a", "@daily")}, takes: minute, result: result}, func(t *testing.T, s *stand) {
		time.Sleep(7 * hour)
		s.change(func(c *config) { c.jobs = []Job{within(t, "a", "@daily")} })
		if j := s.status(t, "a"); j.Trigger != record.First || !j.DeferredUntil.Equal(epoch.Add(28*hour)) || !j.Due.Equal(epoch.Add(28*hour)) {
			t.Errorf("changed: %+v", j)
		}
		time.Sleep(hour)
		s.change(func(c *config) { c.jobs = []Job{job(t, "a", "@daily")} })
		if j := s.status(t, "a"); j.State != record.JobDeferred || j.Trigger != record.Retried || !j.DeferredUntil.Equal(epoch.Add(12*hour)) || !j.Due.Equal(epoch.Add(12*hour)) {
			t.Errorf("changed back: %+v", j)
		}
		time.Sleep(5 * hour)
		if diff := cmp.Diff([]time.Duration{0, 12 * hour}, s.runs("a")); diff != "" {
			t.Error(diff)
		}
	})
}

// A run whose imports are refused since the job has changed is as good as none, also where the job is as it was when it ends.
func TestChangedThereAndBack(t *testing.T) {
	result := func(_ string, run int) mirror.Result {
		if run > 1 {
			return mirror.Result{}
		}
		return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Deferred, Err: record.ErrLost}}}
	}
	inBubble(t, config{jobs: []Job{job(t, "a", "")}, takes: minute, result: result}, func(t *testing.T, s *stand) {
		time.Sleep(hour)
		if diff := cmp.Diff([]time.Duration{0, minute}, s.runs("a")); diff != "" {
			t.Error(diff)
		}
	})
}

// A generation lives as long as a run of it.
func TestGenerationEndsWithItsRuns(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "a", "")}, takes: hour}, func(t *testing.T, s *stand) {
		s.change(func(*config) {})
		s.change(func(*config) {})
		if s.gone() != 1 {
			t.Errorf("%d generations are closed while the first runs", s.gone())
		}
		time.Sleep(2 * hour)
		if s.gone() != 2 {
			t.Errorf("%d generations are closed", s.gone())
		}
	})
}

// A bad config changes nothing, is said once, and its rejection is gone when it is good again.
func TestRejected(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "a", "@every 1h")}}, func(t *testing.T, s *stand) {
		time.Sleep(minute)
		for range 3 {
			s.change(func(c *config) { c.err = errBad })
		}
		snapshot, err := s.Snapshot(t.Context())
		if err != nil || strings.Join(snapshot.Config.Rejected, "") != errBad.Error() || !snapshot.Config.RejectedAt.Equal(epoch.Add(minute)) || snapshot.Config.Generation != 1 {
			t.Errorf("%v %+v", err, snapshot)
		}
		if err := s.Reload(t.Context(), "test"); !errors.Is(err, errBad) {
			t.Errorf("a reload that is asked for: %v", err)
		}
		if n := strings.Count(s.log.String(), "level=ERROR"); n != 1 || !strings.Contains(s.log.String(), "dray.yaml:3:1: bad") {
			t.Errorf("%d errors: %s", n, s.log.String())
		}
		time.Sleep(hour)
		s.change(func(c *config) { c.err = nil })
		if snapshot, err = s.Snapshot(t.Context()); err != nil || len(snapshot.Config.Rejected) > 0 || snapshot.Config.Generation != 2 {
			t.Errorf("%v %+v", err, snapshot)
		}
		if diff := cmp.Diff([]time.Duration{0, hour}, s.runs("a")); diff != "" {
			t.Error(diff)
		}
		if a, b := s.count(&s.told, "reloading"), s.count(&s.told, "ready"); a != 5 || b != 6 {
			t.Errorf("%d times reloading, %d times ready: %q", a, b, s.list(&s.told))
		}
	})
}

// A change while a generation is being built has another built after it; whoever asks for a reload is answered by a build that began
// after the question.
func TestReloadWhileBuilding(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "a", "")}}, func(t *testing.T, s *stand) {
		s.change(func(c *config) { c.slow = minute })
		answers := make(chan error, 3)
		for range 3 {
			go func() { answers <- s.Reload(t.Context(), "test") }()
		}
		synctest.Wait()
		s.change(func(c *config) { c.err = errBad })
		for range 3 {
			if err := <-answers; !errors.Is(err, errBad) {
				t.Errorf("answered %v", err)
			}
		}
		if got := time.Since(epoch); got != 2*minute {
			t.Errorf("answered after %s", got)
		}
		if n := s.count(&s.events, "reloaded"); n != 3 {
			t.Errorf("%d builds", n)
		}
	})
}

// A stop ends what is being built, and those who wait for it are answered; nothing of it counts as rejected.
func TestStopWhileBuilding(t *testing.T) {
	for name, deaf := range map[string]bool{"heeds the stop": false, "is ready nevertheless": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(config{jobs: []Job{job(t, "a", "")}, grace: hour})
				s.start(t)
				s.change(func(c *config) { c.slow, c.deaf = minute, deaf })
				answers := make(chan error, 2)
				for range 2 {
					go func() { answers <- s.Reload(t.Context(), "test") }()
				}
				synctest.Wait()
				s.stop(t)
				for range 2 {
					if err := <-answers; !errors.Is(err, ErrStopping) {
						t.Errorf("answered %v", err)
					}
				}
				want := 1 // the first, and the one that nobody takes
				if deaf {
					want = 2
				}
				if s.gone() != want || time.Since(epoch) != 0 {
					t.Errorf("%d generations are closed after %s", s.gone(), time.Since(epoch))
				}
				if n := s.count(&s.events, "reloaded"); n != 1 || strings.Contains(s.log.String(), "rejected") {
					t.Errorf("%d reloads are told of\n%s", n, s.log)
				}
			})
		})
	}
}

// Who waits for a build is answered at once when the daemon stops, and not when the runs under way have ended.
func TestStopWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(config{jobs: []Job{job(t, "a", "")}, takes: 10 * minute, grace: hour})
		s.start(t)
		s.change(func(c *config) { c.slow = minute })
		answers := make(chan error, 3)
		for range 3 {
			go func() { answers <- s.Reload(t.Context(), "test") }()
		}
		time.Sleep(minute / 2)
		stopped := make(chan struct{})
		began := time.Now()
		go func() { s.stop(t); close(stopped) }()
		for range 3 {
			if err := <-answers; !errors.Is(err, ErrStopping) || time.Since(began) > buildEnds {
				t.Errorf("answered %v after %s", err, time.Since(began))
			}
		}
		if <-stopped; time.Since(began) < 9*minute {
			t.Errorf("it stopped after %s", time.Since(began))
		}
	})
}

// A build that hangs is given up after some time, while the jobs go on; no other begins beside it, and when it has ended another one follows.
func TestBuildHangs(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "a", "@every 1m")}}, func(t *testing.T, s *stand) {
		s.change(func(c *config) { c.stuck = 5 * minute })
		for range 2 {
			began := time.Now()
			if err := s.Reload(t.Context(), "test"); !errors.Is(err, errBuildHangs) || time.Since(began) > 2*buildLasts { // the change had one begin, too
				t.Errorf("answered %v after %s", err, time.Since(began))
			}
		}
		runs := len(s.runs("a"))
		if runs < 3 {
			t.Errorf("%d runs", runs)
		}
		s.change(func(c *config) { c.stuck, c.jobs = 0, []Job{job(t, "b", "")} })
		time.Sleep(2*minute + time.Second)
		if len(s.runs("b")) != 1 {
			t.Errorf("%d runs of the new config", len(s.runs("b")))
		}
	})
}

// A stop does not wait for a build that hangs.
func TestStopWhileABuildHangs(t *testing.T) {
	for name, atStart := range map[string]bool{"at the start": true, "later": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := config{jobs: []Job{job(t, "a", "")}, grace: hour}
				if atStart {
					c.stuck = 5 * minute
				}
				s := newStand(c)
				s.start(t)
				if !atStart {
					s.change(func(c *config) { c.stuck = 5 * minute })
					go func() { _ = s.Reload(t.Context(), "test") }()
				}
				synctest.Wait()
				s.stop(t)
				if took := time.Since(epoch); took != buildEnds {
					t.Errorf("it stopped after %s", took)
				}
				time.Sleep(6 * minute) // what has hung ends
				if want := map[bool]int{true: 1, false: 2}[atStart]; s.gone() != want {
					t.Errorf("%d generations are closed, want %d", s.gone(), want)
				}
			})
		})
	}
}

// A stop ends a daemon that has not begun yet.
func TestStopAtTheStart(t *testing.T) {
	for name, deaf := range map[string]bool{"heeds the stop": false, "is ready nevertheless": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(config{jobs: []Job{job(t, "a", "")}, grace: hour, slow: minute, deaf: deaf})
				s.start(t)
				s.stop(t)
				if len(s.runs("a")) > 0 || time.Since(epoch) != 0 || deaf && s.gone() != 1 {
					t.Errorf("%d runs after %s, %d generations closed", len(s.runs("a")), time.Since(epoch), s.gone())
				}
			})
		})
	}
}

// A memory that hangs holds a daemon that is killed for no longer than a moment.
func TestMemoryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(config{jobs: []Job{job(t, "a", "")}, grace: hour, writes: hour})
		s.start(t)
		time.AfterFunc(minute, s.kill)
		s.stop(t)
		if got := time.Since(epoch) - minute; got != lastWrites {
			t.Errorf("it ended %s after the kill", got)
		}
	})
}

// A thousand reloads at random, good and bad, in the midst of runs: no job runs twice at once or with a config that it no longer
// has, none is lost or late, and every generation but the last is closed in the end.
func TestRandomReloads(t *testing.T) {
	fulltest.Long(t)
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // reproducible
			pool := make([][]Job, 8)
			for i := range pool {
				for v, spec := range []string{"@every 7m", "*/5 * * * *", "@every 7m"} {
					pool[i] = append(pool[i], job(t, fmt.Sprintf("job-%d", i), spec, fmt.Sprint(v)))
				}
			}
			draw := func() (jobs []Job) {
				for _, versions := range pool {
					if n := random.IntN(4); n < 3 {
						jobs = append(jobs, versions[n])
					}
				}
				random.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
				return jobs
			}
			inBubble(t, config{jobs: draw(), parallel: 8, takes: 90 * time.Second}, func(t *testing.T, s *stand) {
				for range 1000 {
					time.Sleep(time.Duration(random.Int64N(int64(3 * minute))))
					bad := random.IntN(4) == 0
					keep := random.IntN(3) == 0
					jobs := draw()
					s.change(func(c *config) {
						c.err = nil
						if c.slow = 0; random.IntN(5) == 0 {
							c.slow = time.Duration(random.Int64N(int64(minute)))
						}
						if bad {
							c.err = errBad
						} else if !keep {
							c.jobs = jobs
						}
					})
				}
				time.Sleep(minute)
				s.change(func(c *config) { c.err, c.slow = nil, 0 })
				time.Sleep(2 * minute)
				began := time.Since(epoch)
				time.Sleep(15 * minute)
				for _, j := range s.config.jobs {
					late := slices.DeleteFunc(s.runs(j.Name), func(at time.Duration) bool { return at < began })
					if len(late) < 2 || len(late) > 3 {
						t.Errorf("%s ran %d times in the last quarter of an hour", j.Name, len(late))
					}
					if last := s.begunLast(j.Name); last != j.Fingerprint {
						t.Errorf("%s ran last as %q, and is %q", j.Name, last, j.Fingerprint)
					}
				}
				if n := s.count(&s.events, "reloaded"); n < 900 {
					t.Errorf("only %d reloads", n)
				}
			})
		})
	}
}

func (s *stand) begunLast(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range slices.Backward(s.begun) {
		if b.job == name {
			return b.took
		}
	}
	return ""
}
