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

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// paused pauses a job, or all.
func (s *stand) paused(t *testing.T, job string) {
	t.Helper()
	if found, err := s.Pause(t.Context(), job, record.Pause{By: "ann", Reason: "the registry moves"}); !found || err != nil {
		t.Fatal(found, err)
	}
}

func (s *stand) resumed(t *testing.T, job string) {
	t.Helper()
	if found, err := s.Resume(t.Context(), job, "ann"); !found || err != nil {
		t.Fatal(found, err)
	}
}

// A paused job starts nothing by schedule, for an event, or to retry; a run under way goes on. What came due runs when it is resumed.
func TestPause(t *testing.T) {
	fails := func(string, int) mirror.Result { return mirror.Result{Err: errBad} }
	inBubble(t, config{jobs: []Job{job(t, "x", "@every 1h"), job(t, "other", "@every 1h")}, parallel: 2, takes: minute, result: fails}, func(t *testing.T, s *stand) {
		s.paused(t, "x") // during its first run, which fails, and would be tried again
		if j := s.status(t, "x"); j.State != record.JobRunning || j.Paused == nil {
			t.Errorf("%+v", j)
		}
		s.push(t, "x", "v1")
		time.Sleep(10 * hour)
		if got := s.seen("x", epoch); !slices.Equal(got, []string{"0s all"}) {
			t.Error("during the pause:", got)
		}
		if len(s.runs("other")) < 10 {
			t.Error("the other job is paused too:", s.runs("other"))
		}
		j := s.status(t, "x")
		want := &record.Pause{Since: epoch, By: "ann", Reason: "the registry moves"}
		if j.State != record.JobPaused || !cmp.Equal(j.Paused, want) || !j.Due.IsZero() || !j.Deadline.IsZero() || j.Last == nil || j.Failures != 1 {
			t.Errorf("%+v", j)
		}
		s.resumed(t, "x")
		synctest.Wait()
		if got := s.seen("x", epoch); !slices.Equal(got, []string{"0s all", "10h0m0s all"}) || s.status(t, "x").Paused != nil {
			t.Error("after the pause:", got)
		}
		log := s.log.String()
		for _, line := range []string{`msg=paused job=x by=ann reason="the registry moves"`, "msg=resumed job=x by=ann"} {
			if !strings.Contains(log, line) {
				t.Errorf("%q is not in the log:\n%s", line, log)
			}
		}
	})
}

// Who asks for a paused job gets one run of it; what was asked for before the pause waits.
func TestPausedJobIsAsked(t *testing.T) {
	for name, all := range map[string]bool{"the job": false, "all jobs": true} {
		t.Run(name, func(t *testing.T) {
			paused := "x"
			if all {
				paused = ""
			}
			inBubble(t, config{jobs: []Job{job(t, "x", "@every 1h")}, takes: minute}, func(t *testing.T, s *stand) {
				if _, err := s.Trigger(t.Context(), "x"); err != nil { // after the first run
					t.Fatal(err)
				}
				s.paused(t, paused)
				time.Sleep(5 * hour)
				if _, err := s.Trigger(t.Context(), "x"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * hour)
				if d := cmp.Diff([]time.Duration{0, 5 * hour}, s.runs("x")); d != "" {
					t.Error(d)
				}
				j := s.status(t, "x")
				if j.Last.Trigger != record.Asked || j.State != record.JobPaused || j.Paused.All != all {
					t.Errorf("%+v, %+v", j, j.Last)
				}
				s.resumed(t, paused)
				time.Sleep(2 * minute)
				if d := cmp.Diff([]time.Duration{0, 5 * hour, 10 * hour}, s.runs("x")); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

// Pauses survive a stop, a kill and another config; that of a job is over when the job is gone. That of all holds for new jobs too.
func TestPauseLasts(t *testing.T) {
	begin := func(t *testing.T, f func(t *testing.T, s *stand)) {
		inBubble(t, config{jobs: []Job{job(t, "x", "@every 1h"), job(t, "y", "@every 1h")}, parallel: 9, takes: time.Second}, func(t *testing.T, s *stand) {
			time.Sleep(minute)
			s.paused(t, "x")
			f(t, s)
		})
	}
	quiet := func(t *testing.T, s *stand, names ...string) {
		t.Helper()
		before := map[string]int{}
		for _, name := range names {
			before[name] = len(s.runs(name))
		}
		time.Sleep(5 * hour)
		for _, name := range names {
			if got := s.runs(name); len(got) != before[name] || s.status(t, name).State != record.JobPaused {
				t.Errorf("%s runs at %v", name, got)
			}
		}
	}
	t.Run("a stop", func(t *testing.T) {
		begin(t, func(t *testing.T, s *stand) { s.stop(t); s.start(t); quiet(t, s, "x") })
	})
	t.Run("a kill", func(t *testing.T) {
		begin(t, func(t *testing.T, s *stand) { s.crash(); s.start(t); quiet(t, s, "x") })
	})
	t.Run("another config", func(t *testing.T) {
		begin(t, func(t *testing.T, s *stand) {
			s.change(func(c *config) { c.jobs = []Job{job(t, "x", "@every 2m"), job(t, "y", "@every 1h")} })
			quiet(t, s, "x")
			s.change(func(c *config) { c.err = errBad })
			quiet(t, s, "x")
		})
	})
	t.Run("the job is gone", func(t *testing.T) {
		begin(t, func(t *testing.T, s *stand) {
			s.change(func(c *config) { c.jobs = c.jobs[1:] })
			if found, err := s.Pause(t.Context(), "x", record.Pause{}); found || err != nil {
				t.Error(found, err)
			}
			s.change(func(c *config) { c.jobs = []Job{job(t, "x", "@every 1h"), job(t, "y", "@every 1h")} })
			if j := s.status(t, "x"); j.Paused != nil || len(s.pauses) != 0 {
				t.Errorf("%+v %v", j, s.pauses)
			}
		})
	})
	t.Run("the job is gone at the next start", func(t *testing.T) {
		begin(t, func(t *testing.T, s *stand) {
			s.stop(t)
			s.mu.Lock()
			s.config.jobs = s.config.jobs[1:]
			s.mu.Unlock()
			s.start(t)
			if len(s.pauses) != 0 {
				t.Error(s.pauses)
			}
		})
	})
	t.Run("all", func(t *testing.T) {
		begin(t, func(t *testing.T, s *stand) {
			s.paused(t, "")
			s.change(func(c *config) { c.jobs = append(slices.Clone(c.jobs), job(t, "z", "@every 1h")) })
			s.crash()
			s.start(t)
			quiet(t, s, "x", "y", "z")
			if j, k := s.status(t, "x"), s.status(t, "y"); j.Paused.All || !k.Paused.All {
				t.Error(j.Paused, k.Paused)
			}
			if snapshot, err := s.Snapshot(t.Context()); err != nil || snapshot.Paused == nil || !snapshot.Paused.All || snapshot.Paused.By != "ann" {
				t.Error(snapshot.Paused, err)
			}
			s.resumed(t, "")
			time.Sleep(minute)
			quiet(t, s, "x")
			if len(s.runs("y")) < 6 || len(s.runs("z")) < 5 {
				t.Error(s.runs("y"), s.runs("z"))
			}
		})
	})
}

// A pause that the memory does not keep is none, and one that is in force keeps its time.
func TestPauseIsKept(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "x", "@every 1h")}, forgets: errBad}, func(t *testing.T, s *stand) {
		if _, err := s.Pause(t.Context(), "x", record.Pause{}); !errors.Is(err, errBad) || s.status(t, "x").Paused != nil || strings.Contains(s.log.String(), "paused") {
			t.Error(err, s.status(t, "x"), s.log)
		}
		s.change(func(c *config) { c.forgets = nil })
		s.paused(t, "x")
		time.Sleep(minute)
		if _, err := s.Pause(t.Context(), "x", record.Pause{By: "bob"}); err != nil {
			t.Error(err)
		}
		if p := s.status(t, "x").Paused; !cmp.Equal(p, &record.Pause{Since: epoch, By: "bob"}) {
			t.Error(p)
		}
		s.change(func(c *config) { c.forgets = errBad })
		if _, err := s.Resume(t.Context(), "x", ""); !errors.Is(err, errBad) || s.status(t, "x").Paused == nil {
			t.Error(err, s.status(t, "x"))
		}
		s.change(func(c *config) { c.forgets = nil })
	})
}

// Jobs that wait for room, since their registries are full, are paused too.
func TestPauseOfAJobSetAside(t *testing.T) {
	a, b := job(t, "a", "@every 1h"), job(t, "b", "@every 1h")
	a.Registries, b.Registries = "r", "r"
	inBubble(t, config{jobs: []Job{a, b}, parallel: 1, takes: minute}, func(t *testing.T, s *stand) {
		first, other := "a", "b"
		if len(s.runs("a")) == 0 {
			first, other = other, first
		}
		s.paused(t, other)
		time.Sleep(30 * minute)
		if len(s.runs(first)) != 1 || len(s.runs(other)) != 0 {
			t.Error(s.runs(first), s.runs(other))
		}
		s.resumed(t, other)
		time.Sleep(minute)
		if len(s.runs(other)) != 1 {
			t.Error(s.runs(other))
		}
	})
}

// What others share is paused for this process too, and shown at once.
func TestPauseIsShared(t *testing.T) {
	m := &member{ahead: 3 * hour}
	sharing(t, config{jobs: []Job{job(t, "x", "@every 1h")}, takes: minute}, m, func(t *testing.T, s *stand) {
		time.Sleep(10 * minute)
		for _, name := range []string{"x", ""} {
			before := len(s.runs("x"))
			_ = s.status(t, "x")
			s.paused(t, name)
			if j := s.status(t, "x"); j.State != record.JobPaused || j.Paused.All != (name == "") {
				t.Errorf("%+v", j)
			}
			time.Sleep(5 * hour)
			if got := s.runs("x"); len(got) != before {
				t.Error("paused:", got)
			}
			if _, err := s.Trigger(t.Context(), "x"); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * hour)
			if got := s.runs("x"); len(got) != before+1 {
				t.Error("asked for:", got)
			}
			s.resumed(t, name)
			time.Sleep(10 * minute)
			if got := s.runs("x"); len(got) < before+2 {
				t.Error("resumed:", got)
			}
		}
	})
}

// TestPausesAtRandom pauses, resumes, triggers, reloads, stops and kills: no run of a job that is paused begins unless someone has asked for it.
func TestPausesAtRandom(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			names := []string{"x", "y", "z"}
			var jobs []Job
			for _, name := range names {
				jobs = append(jobs, job(t, name, "@every 20m"))
			}
			fails := func(_ string, run int) mirror.Result {
				if run%3 == 0 {
					return mirror.Result{Err: errBad}
				}
				return mirror.Result{}
			}
			inBubble(t, config{jobs: jobs, parallel: 2, takes: minute, result: fails}, func(t *testing.T, s *stand) {
				in := map[string]bool{}  // the pauses in force
				may := map[string]int{}  // how many runs have begun that may have, at the last look
				asks := map[string]int{} // how many were asked for since
				for step := range 60 {
					name := append(names, "")[random.IntN(4)]
					switch random.IntN(8) {
					case 0, 1:
						s.paused(t, name)
						in[name] = true
					case 2:
						s.resumed(t, name)
						delete(in, name)
					case 3:
						if name != "" {
							_, err := s.Trigger(t.Context(), name)
							if err != nil {
								t.Error(err)
							}
							asks[name]++
						}
					case 4:
						if name != "" {
							s.push(t, name, "v1")
						}
					case 5:
						s.change(func(c *config) {
							c.jobs = []Job{jobs[0], jobs[1], job(t, "z", fmt.Sprintf("@every %dm", 5+random.IntN(20)))}
						})
					case 6:
						s.stop(t)
						s.start(t)
					case 7:
						s.crash()
						s.start(t)
					}
					for _, n := range names {
						may[n] = len(s.runs(n))
					}
					time.Sleep(time.Duration(random.Int64N(int64(hour))))
					for _, n := range names {
						if ran := len(s.runs(n)) - may[n]; (in[n] || in[""]) && ran > asks[n] {
							t.Fatalf("step %d: %s has run %d times while it was paused, where %d runs were asked for", step, n, ran, asks[n])
						}
						asks[n] = 0
					}
				}
			})
		})
	}
}
