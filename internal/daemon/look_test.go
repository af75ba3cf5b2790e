package daemon

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// tagOf is a tag of the source of a job.
func tagOf(job, tag string) image.Reference {
	return image.Repository{Registry: "a.example", Path: job}.Tag(tag)
}

// push has a job look at tags.
func (s *stand) push(t *testing.T, job string, tags ...string) {
	t.Helper()
	looks := map[string][]image.Reference{}
	for _, tag := range tags {
		looks[job] = append(looks[job], tagOf(job, tag))
	}
	if err := s.Look(t.Context(), looks); err != nil {
		t.Error(err)
	}
}

// seen are the runs of a job so far: when each began, and for which tags.
func (s *stand) seen(job string, since time.Time) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.begun {
		if b.job != job {
			continue
		}
		what := "all"
		if b.some != nil {
			what = strings.ReplaceAll(strings.Join(b.some, " "), "a.example/"+job+":", "")
		}
		all = append(all, fmt.Sprintf("%s %s", b.at.Sub(since), what))
	}
	return all
}

// of makes the result of a run: which tags failed, and which are deferred until when.
func of(failed []string, deferred string, until time.Time) mirror.Result {
	out := func(tag string, status record.Status) mirror.Outcome {
		return mirror.Outcome{Action: diff.Action{Source: tagOf("x", tag).WithDigest("sha256:1")}, Status: status}
	}
	r := mirror.Result{Outcomes: []mirror.Outcome{out("kept", record.Kept), out("gone", record.Absent)}}
	for _, tag := range failed {
		o := out(tag, record.Failed)
		o.Err = errBad
		r.Outcomes = append(r.Outcomes, o)
	}
	if deferred != "" {
		o := out(deferred, record.Deferred)
		o.RetryAt = until
		r.Outcomes = append(r.Outcomes, o)
	}
	return r
}

// What events name is looked at in one run two seconds after the first of them, and nothing else changes.
func TestLook(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "x", "@daily")}, takes: minute}, func(t *testing.T, s *stand) {
		time.Sleep(hour)
		began, before := time.Now(), s.status(t, "x")
		for i := range 50 {
			s.push(t, "x", fmt.Sprintf("v%d", i%5))
			time.Sleep(30 * time.Millisecond)
		}
		s.push(t, "other", "v1") // which is ignored
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if now := s.status(t, "x"); now.State != record.JobRunning || now.Trigger != record.Event {
			t.Errorf("it is %s because of %s", now.State, now.Trigger)
		}
		time.Sleep(hour)
		synctest.Wait()
		if d := cmp.Diff([]string{fmt.Sprintf("%s all", began.Add(-hour).Sub(began)), "2s v0 v1 v2 v3 v4"}, s.seen("x", began)); d != "" {
			t.Errorf("runs (-want +got):\n%s", d)
		}
		if d := cmp.Diff(before, s.status(t, "x")); d != "" {
			t.Errorf("besides (-before +after):\n%s", d)
		}
	})
}

// A look during a run comes after it; one that a run of all tags overtakes is made by that.
func TestLookBesideRuns(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "x", "@hourly")}, takes: minute}, func(t *testing.T, s *stand) {
		time.Sleep(10 * minute)
		began := time.Now().Truncate(hour).Add(hour)
		time.Sleep(time.Until(began) - time.Second)
		s.push(t, "x", "before")
		time.Sleep(30 * time.Second)
		s.push(t, "x", "during")
		time.Sleep(time.Until(began.Add(minute + 10*time.Second)))
		s.push(t, "x", "again")
		time.Sleep(time.Until(began.Add(10 * minute)))
		synctest.Wait()
		want := []string{"0s all", "1m0s during", "2m0s again"}
		if d := cmp.Diff(want, s.seen("x", began)[1:]); d != "" {
			t.Errorf("runs (-want +got):\n%s", d)
		}
	})
}

// What a look leaves undone is looked at again, with growing pauses or when the registry allows it, and without the rest.
func TestLookAgain(t *testing.T) {
	var began time.Time
	runs := []mirror.Result{
		{}, of([]string{"a", "b"}, "", time.Time{}), of([]string{"b"}, "", time.Time{}), {Err: errBad}, of(nil, "b", time.Time{}), {},
	}
	c := config{jobs: []Job{job(t, "x", "@daily")}, result: func(_ string, run int) mirror.Result {
		if run == 5 {
			return of(nil, "b", began.Add(3*hour))
		}
		return runs[min(run, len(runs))-1]
	}}
	inBubble(t, c, func(t *testing.T, s *stand) {
		time.Sleep(minute)
		began = time.Now()
		s.push(t, "x", "a", "b", "kept", "gone")
		time.Sleep(5 * hour)
		synctest.Wait()
		want := []string{"2s a b gone kept", "7s a b gone", "22s b gone", "1m7s b gone", "3h0m0s b"}
		if d := cmp.Diff(want, s.seen("x", began)[1:]); d != "" {
			t.Errorf("runs (-want +got):\n%s", d)
		}
		if now := s.status(t, "x"); now.Failures != 0 || now.State != record.JobScheduled || now.Last.Trigger != record.First {
			t.Errorf("%d failures, %s, the last run is %+v", now.Failures, now.State, now.Last)
		}
		s.push(t, "x", "c") // the pauses begin anew
		time.Sleep(minute)
		synctest.Wait()
		if all := s.seen("x", began); all[len(all)-1] != "5h0m2s c" {
			t.Errorf("the last run is %s", all[len(all)-1])
		}
	})
}

// Events that go on during an outage do not make the pauses longer; and when a later one can be followed, the rest is tried again soon.
func TestLookAfterOutage(t *testing.T) {
	for name, c := range map[string]struct {
		events int
		every  time.Duration
		later  bool // an event comes after the outage
		within time.Duration
	}{
		"many events, and none after it": {100, 3 * time.Second, false, 10 * minute},
		"few events, and one after it":   {10, hour, true, 2 * minute},
	} {
		t.Run(name, func(t *testing.T) {
			var down atomic.Bool
			inBubble(t, config{jobs: []Job{job(t, "x", "")}, result: func(string, int) mirror.Result {
				if down.Load() {
					return mirror.Result{Err: errBad}
				}
				return mirror.Result{}
			}}, func(t *testing.T, s *stand) {
				time.Sleep(minute)
				down.Store(true)
				for i := range c.events {
					s.push(t, "x", fmt.Sprintf("v%d", i))
					time.Sleep(c.every)
				}
				down.Store(false)
				over := time.Now()
				if c.later {
					s.push(t, "x", "last")
				}
				time.Sleep(c.within)
				synctest.Wait()
				s.mu.Lock()
				defer s.mu.Unlock()
				seen := map[string]bool{}
				for _, b := range s.begun {
					for _, tag := range b.some {
						seen[tag] = seen[tag] || b.at.After(over)
					}
				}
				for tag, again := range seen {
					if !again {
						t.Errorf("%s was not looked at within %s after the outage", tag, c.within)
					}
				}
				if n := len(s.begun); n > c.events+20 {
					t.Errorf("%d runs", n)
				}
			})
		})
	}
}

// Too many tags together make a run for all, also when they come together at the end of one.
func TestLookAtTooManyAgain(t *testing.T) {
	c := config{jobs: []Job{job(t, "x", "@daily")}, takes: minute, result: func(_ string, run int) mirror.Result {
		if run == 2 {
			return mirror.Result{Err: errBad}
		}
		return mirror.Result{}
	}}
	inBubble(t, c, func(t *testing.T, s *stand) {
		time.Sleep(hour)
		began := time.Now()
		push := func(from, n int) {
			for i := range n {
				s.push(t, "x", fmt.Sprintf("v%d", from+i))
			}
		}
		push(0, 600)
		time.Sleep(10 * time.Second)
		push(600, 600)
		time.Sleep(10 * minute)
		synctest.Wait()
		if all := s.seen("x", began); len(all) != 3 || all[2] != "1m2s all" {
			t.Errorf("runs: %d, the last %s", len(all), all[len(all)-1])
		}
	})
}

// Of very many tags a job looks at all that it selects.
func TestLookAtMany(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "x", "@daily")}}, func(t *testing.T, s *stand) {
		time.Sleep(minute)
		began := time.Now()
		for i := range record.MaxLooks + 1 {
			s.push(t, "x", fmt.Sprintf("v%d", i))
		}
		time.Sleep(minute)
		synctest.Wait()
		if d := cmp.Diff([]string{"0s all"}, s.seen("x", began)[1:]); d != "" {
			t.Errorf("runs (-want +got):\n%s", d)
		}
	})
}

func TestLookWhileStopping(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "x", "@daily")}, takes: minute, grace: hour}, func(t *testing.T, s *stand) {
		close(s.halt)
		s.halt = make(chan struct{})
		synctest.Wait()
		if err := s.Look(t.Context(), map[string][]image.Reference{"x": {tagOf("x", "a")}}); !errors.Is(err, ErrStopping) {
			t.Errorf("got %v", err)
		}
	})
}

// What a stop or a kill keeps a job from looking at, it looks at after the restart, in a run for all tags.
func TestLookOverRestarts(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *stand){
		"killed before it looks": func(t *testing.T, s *stand) {
			s.push(t, "x", "a")
			synctest.Wait()
			s.crash()
		},
		"stopped before it looks": func(t *testing.T, s *stand) {
			s.push(t, "x", "a")
			s.stop(t)
		},
		"killed while it looks": func(t *testing.T, s *stand) {
			s.push(t, "x", "a")
			time.Sleep(10 * time.Second)
			synctest.Wait()
			s.crash()
		},
		"stopped while it looks": func(t *testing.T, s *stand) {
			s.push(t, "x", "a")
			time.Sleep(10 * time.Second)
			s.stop(t)
			if last := s.kept[len(s.kept)-1].Run; last.Outcome != record.RunCutOff || last.Trigger != record.Event {
				t.Errorf("the last run is kept as %+v", last)
			}
		},
		"killed before it looks again": func(t *testing.T, s *stand) {
			s.push(t, "x", "a")
			time.Sleep(10 * time.Second)
			s.push(t, "x", "b")
			time.Sleep(51500 * time.Millisecond) // the first look has ended, and the second has not begun
			synctest.Wait()
			s.push(t, "x", "c")
			synctest.Wait()
			s.crash()
		},
		"killed in a pause": func(t *testing.T, s *stand) {
			s.mu.Lock()
			s.config.result = func(string, int) mirror.Result { return of([]string{"a"}, "", time.Time{}) }
			s.mu.Unlock()
			s.change(func(*config) {})
			s.push(t, "x", "a")
			time.Sleep(minute + 3*time.Second) // it has failed
			synctest.Wait()
			s.crash()
			s.config.result = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(config{jobs: []Job{job(t, "x", "")}, takes: minute, grace: time.Second})
				s.start(t)
				time.Sleep(hour)
				synctest.Wait()
				end(t, s)
				restarted := time.Now()
				s.start(t)
				time.Sleep(hour)
				synctest.Wait()
				if all := s.seen("x", restarted); all[len(all)-1] != "0s all" {
					t.Errorf("runs: %v", all)
				}
				s.stop(t)
			})
		})
	}
}

// However runs end, and whenever the daemon is stopped or killed: each tag that was accepted is looked at by a run that begins later, and a
// planned run is never late for that.
func TestRandomLooks(t *testing.T) {
	fulltest.Long(t)
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 9)) //nolint:gosec // reproducible
			var well atomic.Bool
			result := func(_ string, run int) mirror.Result {
				random := rand.New(rand.NewPCG(seed, uint64(run))) //nolint:gosec // runs may be under way at once
				if well.Load() {
					return of(nil, "", time.Time{})
				}
				switch random.IntN(4) {
				case 0:
					return mirror.Result{Err: errBad}
				case 1:
					return of([]string{"v0", "v1", "v2", "v3"}, "", time.Time{})
				case 2:
					return of(nil, "v1", time.Now().Add(hour))
				}
				return of(nil, "", time.Time{})
			}
			s := newStand(config{jobs: []Job{job(t, "x", "@every 50m")}, takes: minute, grace: time.Second, result: result})
			s.start(t)
			asked := map[string]time.Time{}
			for range 30 {
				time.Sleep(time.Duration(random.Int64N(int64(10 * minute))))
				synctest.Wait()
				switch random.IntN(8) {
				case 0:
					s.stop(t)
					s.start(t)
				case 1:
					s.crash()
					s.start(t)
				default:
					tag := fmt.Sprintf("v%d", random.IntN(5))
					s.push(t, "x", tag)
					asked[tag] = time.Now()
					synctest.Wait()
				}
			}
			well.Store(true)
			time.Sleep(12 * hour)
			synctest.Wait()
			s.mu.Lock()
			for tag, at := range asked {
				if !slices.ContainsFunc(s.begun, func(b begin) bool {
					return !b.at.Before(at) && (b.some == nil || slices.Contains(b.some, tagOf("x", tag).String()))
				}) {
					t.Errorf("seed %d: %s was not looked at after %s", seed, tag, at)
				}
			}
			s.mu.Unlock()
			s.stop(t)
		})
	}
}
