package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)

// A job that never ran runs at once and then by its schedule; one without a schedule runs once.
func TestRunsWhenDue(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "cron", "30 * * * *"), job(t, "every", "@every 90m"), job(t, "once", "")}, parallel: 3, takes: minute},
		func(t *testing.T, s *stand) {
			time.Sleep(4 * hour)
			for name, want := range map[string][]time.Duration{
				"cron":  {0, 30 * minute, 90 * minute, 150 * minute, 210 * minute},
				"every": {0, 90 * minute, 180 * minute},
				"once":  {0},
			} {
				if diff := cmp.Diff(want, s.runs(name)); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
			if j := s.status(t, "once"); !j.Due.IsZero() || j.LastSuccess.IsZero() || !j.Deadline.IsZero() {
				t.Errorf("%+v", j)
			}
			if j := s.status(t, "cron"); !j.Due.Equal(epoch.Add(270*minute)) || !j.Deadline.Equal(epoch.Add(270*minute)) {
				t.Errorf("%+v", j)
			}
		})
}

// A run that takes longer than its schedule's pause is followed by one at once, not by several.
func TestMissedTimesAreOneRun(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "a", "*/10 * * * *")}, takes: 35 * minute}, func(t *testing.T, s *stand) {
		time.Sleep(100 * minute)
		if diff := cmp.Diff([]time.Duration{0, 35 * minute, 70 * minute}, s.runs("a")); diff != "" {
			t.Error(diff)
		}
	})
}

// No more jobs run at once than may; those with a higher priority go first.
func TestParallelAndPriority(t *testing.T) {
	jobs := []Job{job(t, "a", ""), job(t, "b", ""), job(t, "c", ""), job(t, "d", ""), job(t, "e", "")}
	jobs[3].Priority, jobs[4].Priority = 5, 9
	inBubble(t, config{jobs: jobs, parallel: 2, takes: hour}, func(t *testing.T, s *stand) {
		if j := s.status(t, "a"); j.State != record.JobWaiting {
			t.Errorf("%+v", j)
		}
		time.Sleep(day)
		s.mu.Lock()
		defer s.mu.Unlock()
		var order []string
		for _, b := range s.begun {
			order = append(order, b.job)
		}
		slices.Sort(order[:2])
		slices.Sort(order[2:4])
		if diff := cmp.Diff([]string{"d", "e", "a", "b", "c"}, order); diff != "" {
			t.Error(diff)
		}
		if s.mostAtOnce != 2 {
			t.Errorf("%d at once", s.mostAtOnce)
		}
	})
}

// Runs that wait for their registries hold no slot that one of other registries could use, and no more of them begin than there are slots.
func TestOneRegistryHangs(t *testing.T) { oneRegistryHangs(t, 0) }

// So it is where they do a step now and then.
func TestOneRegistryTrickles(t *testing.T) { oneRegistryHangs(t, 2*time.Second) }

func oneRegistryHangs(t *testing.T, steps time.Duration) {
	t.Helper()
	var jobs []Job
	for i := range 30 {
		j := job(t, fmt.Sprintf("%02d", i), "")
		j.Registries = "good.example target.example"
		if i < 10 {
			j.Registries, j.Priority = "bad.example target.example", 1
		}
		jobs = append(jobs, j)
	}
	inBubble(t, config{jobs: jobs, parallel: 4, takes: time.Second, hangs: jobs[0].Registries, steps: steps}, func(t *testing.T, s *stand) {
		ran := func() (bad, good int) {
			for _, j := range jobs {
				if n := len(s.runs(j.Name)); j.Priority == 1 {
					bad += n
				} else {
					good += n
				}
			}
			return bad, good
		}
		time.Sleep(minute)
		if bad, good := ran(); bad != 4 || good != 20 {
			t.Errorf("after a minute %d of the bad registry have begun and %d of the good one", bad, good)
		}
		time.Sleep(10 * minute)
		snapshot, err := s.Snapshot(t.Context())
		if err != nil || steps == 0 && snapshot.Now.Sub(snapshot.Moved) < 10*minute {
			t.Errorf("it moved at %v, now is %v (%v)", snapshot.Moved, snapshot.Now, err)
		}
		if s.status(t, "09").State != record.JobWaiting {
			t.Error("what is set aside does not wait")
		}
		time.Sleep(3 * hour)
		if bad, good := ran(); bad != 10 || good != 20 {
			t.Errorf("in the end %d of the bad registry have begun and %d of the good one", bad, good)
		}
	})
}

// After a restart a job goes on where it was: what it missed it catches up with once, and "@every" keeps its phase.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(config{jobs: []Job{job(t, "daily", "0 12 * * *"), job(t, "every", "@every 50m"), job(t, "once", "")}, parallel: 3})
		s.start(t)
		time.Sleep(2*hour + 10*minute)
		s.stop(t)
		time.Sleep(10 * minute)
		s.start(t) // 2:20
		time.Sleep(20 * minute)
		s.stop(t)
		time.Sleep(day)
		s.start(t) // a day and 2:40 after the first start
		time.Sleep(30 * minute)
		s.stop(t)
		for name, want := range map[string][]time.Duration{
			"daily": {0, day + 160*minute},
			"every": {0, 50 * minute, 100 * minute, 150 * minute, day + 160*minute}, // 32 × 50 minutes are a day and 2:40
			"once":  {0},
		} {
			if diff := cmp.Diff(want, s.runs(name)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	})
}

// Beside a twin that goes on, a daemon that is stopped or killed at any minute ends as soon: what is deferred stays so until the same
// time, what was cut off is due at the next start, and "ok" is said only of a run that ended well.
func TestTwins(t *testing.T) {
	const window = minute // in which one import fits
	result := func(_ string, run int) mirror.Result {
		if run < 10 {
			return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Imported}, {Status: record.Deferred, RetryAt: time.Now().Add(window)}}}
		}
		return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Kept}}}
	}
	ends := func(t *testing.T, restart func(s *stand)) (end time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			s := newStand(config{jobs: []Job{job(t, "a", "@daily")}, takes: time.Second, result: result})
			s.start(t)
			for s.status(t, "a").LastSuccess.IsZero() && time.Since(epoch) < hour {
				time.Sleep(7300 * time.Millisecond)
				synctest.Wait()
				if j := s.status(t, "a"); j.Last != nil && j.Last.Outcome == record.RunOK && j.LastSuccess.IsZero() {
					t.Error("a run that was not well is called ok")
				}
				if restart != nil {
					before := s.status(t, "a")
					restart(s)
					s.start(t)
					after := s.status(t, "a")
					if before.Started.IsZero() && !before.Due.Equal(after.Due) || !before.DeferredUntil.Equal(after.DeferredUntil) {
						t.Errorf("due %s, deferred until %s, before the restart; then %s and %s", before.Due, before.DeferredUntil, after.Due, after.DeferredUntil)
					}
				}
			}
			end = s.status(t, "a").LastSuccess.Sub(epoch)
			s.stop(t)
		})
		return end
	}
	alone := ends(t, nil)
	for name, restart := range map[string]func(s *stand){
		"stopped": func(s *stand) { s.stop(t) },
		"killed":  func(s *stand) { s.crash() },
	} {
		if got := ends(t, restart); got > alone+2*time.Second {
			t.Errorf("%s: it ended after %s, its twin after %s", name, got, alone)
		}
	}
}

// A run that a kill cut off is cut off, in the history too, and due at once, whatever started it.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(config{jobs: []Job{job(t, "a", "@daily")}})
		s.start(t)
		s.change(func(c *config) { c.takes = hour })
		time.Sleep(hour)
		if found, err := s.Trigger(t.Context(), "a"); !found || err != nil {
			t.Fatal(found, err)
		}
		time.Sleep(minute)
		s.crash()
		s.config.jobs = nil
		s.start(t) // its mapping is away for a while
		s.stop(t)
		s.mu.Lock()
		s.config.jobs = []Job{job(t, "a", "@daily")}
		last := s.kept[len(s.kept)-1].State.Last
		s.mu.Unlock()
		want := &record.Run{Started: epoch.Add(hour), Ended: epoch.Add(hour), Outcome: record.RunCutOff, Trigger: "manual", Error: errCutOff.Error()}
		if diff := cmp.Diff(want, last); diff != "" {
			t.Error(diff)
		}
		s.start(t)
		if j := s.status(t, "a"); j.Started.IsZero() || j.Trigger != record.Asked || j.Last.Outcome != record.RunCutOff || !j.LastSuccess.Equal(epoch) {
			t.Errorf("%+v", j)
		}
		time.Sleep(2 * hour)
		if j := s.status(t, "a"); j.Last.Outcome != record.RunOK || !j.Due.Equal(epoch.Add(day)) {
			t.Errorf("%+v", j)
		}
		s.stop(t)
	})
}

// What a registry's budget defers runs when it may, whatever the schedule says; what failed runs after a pause that grows.
func TestRunsAgain(t *testing.T) {
	result := func(name string, run int) mirror.Result {
		switch {
		case name == "deferred" && run == 1:
			return mirror.Result{Outcomes: []mirror.Outcome{
				{Status: record.Deferred, RetryAt: epoch.Add(40 * minute)}, {Status: record.Deferred, RetryAt: epoch.Add(20 * minute)},
			}}
		case name == "failing" && run <= 4:
			return mirror.Result{Err: errBad}
		case name == "partly" && run == 2:
			return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Kept}, {Status: record.Failed, Err: errBad}}}
		}
		return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Kept}, {Status: record.Refused}}}
	}
	jobs := []Job{job(t, "deferred", "0 12 * * *"), job(t, "failing", ""), job(t, "partly", "@every 1h")}
	inBubble(t, config{jobs: jobs, parallel: 3, result: result}, func(t *testing.T, s *stand) {
		if j := s.status(t, "deferred"); !j.DeferredUntil.Equal(epoch.Add(20*minute)) || j.Failures != 0 || j.Trigger != record.Retried {
			t.Errorf("%+v", j)
		}
		time.Sleep(2*hour + 30*minute)
		for name, want := range map[string][]time.Duration{
			"deferred": {0, 20 * minute}, "failing": {0, minute, 3 * minute, 7 * minute, 15 * minute},
			"partly": {0, hour, hour + minute, 2 * hour},
		} {
			if diff := cmp.Diff(want, s.runs(name)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		if j := s.status(t, "failing"); j.Failures != 0 || !j.LastSuccess.Equal(epoch.Add(15*minute)) {
			t.Errorf("%+v", j.State)
		}
		if s.count(&s.events, "ran failing, 4 failures after 3") != 1 || s.count(&s.events, "ran failing, 0 failures after 4") != 1 {
			t.Errorf("%q", s.list(&s.events))
		}
	})
}

// Jobs that wait for one budget, of which each run could use all, take turns.
func TestBudgetIsShared(t *testing.T) {
	var mu sync.Mutex
	var spent time.Time // the hour in which it was
	got := map[string]int{}
	result := func(name string, _ int) mirror.Result {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		hour := now.Truncate(time.Hour)
		outcomes := []mirror.Outcome{{Status: record.Deferred, RetryAt: hour.Add(time.Hour)}}
		if !hour.Equal(spent) {
			spent = hour
			got[name]++
			outcomes = append(outcomes, mirror.Outcome{Status: record.Imported})
		}
		return mirror.Result{Outcomes: outcomes}
	}
	jobs := []Job{job(t, "a", ""), job(t, "b", ""), job(t, "c", ""), job(t, "d", ""), job(t, "e", "")}
	inBubble(t, config{jobs: jobs, takes: time.Second, result: result}, func(t *testing.T, _ *stand) {
		time.Sleep(20 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		for _, j := range jobs {
			if n := got[j.Name]; n < 3 || n > 5 {
				t.Errorf("%s got %d of 20", j.Name, n)
			}
		}
	})
}

// A registry that puts off what it is asked for to a time that is over, as one whose clock is wrong does, is asked once a minute in the
// long run.
func TestDeferredToThePast(t *testing.T) {
	result := func(string, int) mirror.Result {
		return mirror.Result{Outcomes: []mirror.Outcome{{Status: record.Deferred, RetryAt: time.Now().Add(-hour)}}}
	}
	inBubble(t, config{jobs: []Job{job(t, "a", "")}, result: result}, func(t *testing.T, s *stand) {
		time.Sleep(hour)
		if n := len(s.runs("a")); n < 60 || n > 70 {
			t.Errorf("%d runs in an hour", n)
		}
	})
}

// The pause after failures ends, and outlives a restart.
func TestPauses(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: minute, 2: 2 * minute, 9: 256 * minute, 10: 6 * hour, 1000: 6 * hour} {
		if got := again(record.State{Failures: failures, Ended: epoch}).Sub(epoch); got != want {
			t.Errorf("%d: %s, want %s", failures, got, want)
		}
	}
	if at := again(record.State{Ended: epoch}); !at.IsZero() {
		t.Error(at)
	}
}

// A job that somebody asks for runs at once, or right after the run that is under way, however often it is asked for.
func TestTrigger(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "a", "0 0 1 1 *")}, takes: 10 * minute}, func(t *testing.T, s *stand) {
		ask := func(name string) bool {
			found, err := s.Trigger(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		time.Sleep(5 * minute)
		for name, there := range map[string]bool{"a": true, "b": false} {
			if ask(name) != there {
				t.Errorf("%s is there: %v", name, !there)
			}
		}
		ask("a")
		time.Sleep(hour)
		ask("a")
		time.Sleep(hour)
		if diff := cmp.Diff([]time.Duration{0, 10 * minute, 65 * minute}, s.runs("a")); diff != "" {
			t.Error(diff)
		}
	})
}

// A stop begins nothing new, waits for what runs, and cuts it when its time is over; then it counts as not made.
func TestStop(t *testing.T) {
	for name, tt := range map[string]struct {
		takes, after, ends time.Duration
		kill               bool
		again              bool // it runs after the next start
	}{
		"idle":     {takes: 0, after: minute, ends: minute},
		"in time":  {takes: 10 * minute, after: 5 * minute, ends: 10 * minute},
		"too late": {takes: 10 * minute, after: minute, ends: 6 * minute, again: true},
		"killed":   {takes: 10 * minute, after: minute, ends: 2 * minute, kill: true, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(config{jobs: []Job{job(t, "a", "0 12 * * *"), job(t, "b", "0 12 * * *")}, takes: tt.takes, grace: 5 * minute})
				s.start(t)
				time.Sleep(tt.after)
				if tt.kill {
					time.AfterFunc(minute, s.kill)
				}
				s.stop(t)
				if got := time.Since(epoch); got != tt.ends {
					t.Errorf("it took until %s, want %s", got, tt.ends)
				}
				if s.count(&s.told, "stopping") != 1 || s.gone() != 1 {
					t.Errorf("%q, %d generations closed", s.list(&s.told), s.gone())
				}
				if _, err := s.Trigger(t.Context(), "a"); !errors.Is(err, ErrStopping) {
					t.Error(err)
				}
				if err := s.Reload(t.Context(), "test"); !errors.Is(err, ErrStopping) {
					t.Error(err)
				}
				begun := len(s.runs("a"))
				s.start(t)
				time.Sleep(hour) // the other job has waited for longer
				if again := len(s.runs("a")) > begun; again != tt.again {
					t.Errorf("it runs again: %v", again)
				}
				if n := len(s.runs("b")); n == 0 {
					t.Error("the other job never ran")
				}
				s.stop(t)
			})
		})
	}
}

// The service manager hears what goes on, and of a loop that hangs no longer anything.
func TestServiceManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(config{jobs: []Job{job(t, "a", "@every 1h")}, takes: minute})
		s.watchdog = 10 * time.Second
		s.start(t)
		time.Sleep(10*minute + time.Second)
		if n := s.count(&s.told, "watchdog"); n != 61 {
			t.Errorf("%d pings in ten minutes", n)
		}
		hang := make(chan struct{})
		go func() { _ = s.do(t.Context(), func() { <-hang }) }()
		synctest.Wait()
		before := s.count(&s.told, "watchdog")
		time.Sleep(10 * minute)
		if n := s.count(&s.told, "watchdog"); n != before {
			t.Errorf("a loop that hangs has pinged %d times", n-before)
		}
		close(hang)
		s.stop(t)
		var words []string
		for _, line := range s.list(&s.told) {
			if line != "watchdog" {
				words = append(words, line)
			}
		}
		want := []string{
			"ready: 1 jobs, the next at 2000-01-01T00:00:00Z", "status: 1 of 1 jobs under way",
			"status: 1 jobs, the next at 2000-01-01T01:00:00Z", "stopping",
		}
		if diff := cmp.Diff(want, words); diff != "" {
			t.Error(diff)
		}
	})
}

// A config that is bad from the start ends the daemon with its mistakes.
func TestBadFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(config{err: errBad})
		s.start(t)
		if err := <-s.ended; !errors.Is(err, errBad) {
			t.Error(err)
		}
		if _, err := s.Snapshot(t.Context()); !errors.Is(err, ErrStopping) {
			t.Error(err)
		}
		s.kill()
	})
}

// What a run does can be looked at while it is under way.
func TestProgress(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "a", "")}, takes: hour}, func(t *testing.T, s *stand) {
		time.Sleep(minute)
		j := s.status(t, "a")
		p := j.Progress
		if p.Tags != 1 || p.Observed != 1 || p.Imports != 1 || p.Completed != 0 || len(p.UnderWay) != 1 || p.UnderWay[0].Total != 1 {
			t.Errorf("%+v", p)
		}
		if !j.Started.Equal(epoch) || j.Trigger != record.First || !j.Due.IsZero() {
			t.Errorf("%+v", j)
		}
		if strings.Contains(s.log.String(), "level=WARN") {
			t.Error(s.log.String())
		}
	})
}

// Runs that wait for the bandwidth of all keep their slots, between whatever registries they are; those that wait for their registries do not.
func TestThrottledRunsKeepTheirSlots(t *testing.T) {
	for throttled, want := range map[bool]int{true: 2, false: 20} {
		var jobs []Job
		for i := range 20 {
			j := job(t, fmt.Sprintf("job-%02d", i), "@daily")
			j.Registries = fmt.Sprint("source-", i)
			jobs = append(jobs, j)
		}
		inBubble(t, config{jobs: jobs, parallel: 2, takes: hour, throttled: throttled}, func(t *testing.T, s *stand) {
			time.Sleep(day)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.mostAtOnce != want || len(s.begun) < 20 {
				t.Errorf("throttled %t: %d runs at once, want %d; %d have begun", throttled, s.mostAtOnce, want, len(s.begun))
			}
		})
	}
}
