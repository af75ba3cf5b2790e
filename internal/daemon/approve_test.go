package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// An approved plan runs at once and alone of its job, whatever is due or paused, and changes nothing about that.
func TestApprovedPlan(t *testing.T) {
	inBubble(t, config{jobs: []Job{job(t, "a", "@daily"), job(t, "b", "@daily")}}, func(t *testing.T, s *stand) {
		s.change(func(c *config) { c.takes = hour })
		time.Sleep(hour)
		approve := func(job, print string) error {
			t.Helper()
			return s.Approve(t.Context(), job, print, make([]diff.Action, 3))
		}
		if err := approve("a", "a @weekly"); !errors.Is(err, ErrStale) {
			t.Errorf("of a job that has changed: %v", err)
		}
		if err := approve("c", "c @daily"); !errors.Is(err, ErrStale) {
			t.Errorf("of a job that is gone: %v", err)
		}
		if _, err := s.Pause(t.Context(), "a", record.Pause{}); err != nil {
			t.Fatal(err)
		}
		if err := approve("a", "a @daily"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if j := s.status(t, "a"); j.State != record.JobRunning || j.Trigger != record.Approved {
			t.Errorf("%+v", j)
		}
		if err := approve("a", "a @daily"); !errors.Is(err, ErrBusy) {
			t.Errorf("while it runs: %v", err)
		}
		if _, err := s.Trigger(t.Context(), "a"); err != nil { // it follows
			t.Fatal(err)
		}
		if err := s.Look(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(hour)
		synctest.Wait()
		if j := s.status(t, "a"); j.State != record.JobRunning || j.Trigger != record.Asked || !j.Last.Ended.Equal(epoch) {
			t.Errorf("%+v", j)
		}
		if err := approve("a", "a @daily"); !errors.Is(err, ErrBusy) {
			t.Errorf("while another run is under way: %v", err)
		}
		time.Sleep(2 * hour)
		if got := s.runs("a"); !slices.Equal(got, []time.Duration{0, hour, 2 * hour}) {
			t.Errorf("it has run at %v", got)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.IndexFunc(s.kept, func(k kept) bool { return k.Trigger == record.Approved })
		if i < 0 {
			t.Fatalf("the run is not kept: %+v", s.kept)
		}
		if k := s.kept[i]; k.Outcome != record.RunOK || !k.State.Due.Equal(epoch.Add(day)) && !k.State.Asked || !k.State.Begun.IsZero() || !k.State.Started.Equal(epoch) {
			t.Errorf("%+v", k)
		}
		if some := s.begun[2].some; s.begun[2].job != "a" || fmt.Sprint(some) != "[3 approved]" {
			t.Errorf("%+v", s.begun)
		}
	})
}

// A process that is killed during an approved run leaves a run that was cut off, and makes nothing due.
func TestApprovedPlanIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(config{jobs: []Job{job(t, "a", "@daily")}})
		s.start(t)
		s.change(func(c *config) { c.takes = hour })
		time.Sleep(hour)
		if err := s.Approve(t.Context(), "a", "a @daily", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(minute)
		s.crash()
		s.start(t)
		if j := s.status(t, "a"); !j.Started.IsZero() || !j.Due.Equal(epoch.Add(day)) || j.Last.Outcome != record.RunOK {
			t.Errorf("%+v", j)
		}
		s.stop(t)
		s.mu.Lock()
		defer s.mu.Unlock()
		if last := s.kept[len(s.kept)-1]; last.Trigger != record.Approved || last.Outcome != record.RunCutOff || !last.Started.Equal(epoch.Add(hour)) {
			t.Errorf("%+v", last)
		}
	})
}

// Approved plans and plans under way are few at once.
func TestPlansAreFewAtOnce(t *testing.T) {
	var jobs []Job
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		jobs = append(jobs, job(t, name, "@daily"))
	}
	inBubble(t, config{jobs: jobs, parallel: 1}, func(t *testing.T, s *stand) {
		s.change(func(c *config) { c.takes = minute })
		for i, j := range jobs {
			if err := s.Approve(t.Context(), j.Name, j.Fingerprint, nil); (err != nil) != (i == maxApproved) || err != nil && !errors.Is(err, ErrBusy) {
				t.Errorf("%s: %v", j.Name, err)
			}
		}
		time.Sleep(hour)
		ended := make(chan mirror.Result, 10)
		for i := range maxPlanning + 1 {
			print, err := s.Plan(t.Context(), "a", nil, func(r mirror.Result) { ended <- r })
			if (err != nil) != (i == maxPlanning) || err != nil && !errors.Is(err, ErrBusy) || err == nil && print != "a @daily" {
				t.Errorf("%d: %q, %v", i, print, err)
			}
		}
		if print, err := s.Plan(t.Context(), "x", nil, nil); print != "" || err != nil {
			t.Errorf("of no job: %q, %v", print, err)
		}
		time.Sleep(minute)
		for range maxPlanning {
			if r := <-ended; r.Err != nil {
				t.Error(r.Err)
			}
		}
	})
}

// A plan ends after its time, and at once where the daemon stops; what it uses is kept until then.
func TestPlanEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(config{jobs: []Job{job(t, "a", "@daily")}, grace: hour})
		s.start(t)
		s.change(func(c *config) { c.takes = day })
		ended := make(chan mirror.Result, 10)
		plan := func() {
			t.Helper()
			if _, err := s.Plan(t.Context(), "a", nil, func(r mirror.Result) { ended <- r }); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		plan()
		if r := <-ended; !errors.Is(r.Err, errPlanLasts) || time.Since(began) != planLasts {
			t.Errorf("after %s: %v", time.Since(began), r.Err)
		}
		plan()
		closed := s.gone()
		s.change(func(c *config) { c.jobs = nil })
		if s.gone() != closed {
			t.Error("the generation of a plan is closed while it is made")
		}
		began = time.Now()
		s.stop(t)
		if r := <-ended; !errors.Is(r.Err, ErrStopping) || time.Since(began) != 0 {
			t.Errorf("after %s: %v", time.Since(began), r.Err)
		}
		if _, err := s.Plan(context.Background(), "a", nil, nil); !errors.Is(err, ErrStopping) {
			t.Errorf("after the stop: %v", err)
		}
		if err := s.Approve(context.Background(), "a", "a @daily", nil); !errors.Is(err, ErrStopping) {
			t.Errorf("after the stop: %v", err)
		}
	})
}
