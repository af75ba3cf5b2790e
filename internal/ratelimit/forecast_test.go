package ratelimit_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/emulator/hub"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/ratelimit"
	"github.com/draysync/dray/internal/record"
)

// needs are what the jobs of a plan pull.
func needs(jobs []plan.Job, results []mirror.Result) (list []ratelimit.Need, pulls int) {
	for i, r := range results {
		need := ratelimit.Need{Job: r.Job, Priority: jobs[i].Priority}
		for _, out := range r.Outcomes {
			need.Pulls += out.Pulls
		}
		pulls += need.Pulls
		list = append(list, need)
	}
	return list, pulls
}

// TestForecast plans, forecasts, and then syncs until all is done: the pulls are as many as forecast, exactly, all is done within one
// window of the time that was forecast, and so is each job that has no other of its priority beside it.
func TestForecast(t *testing.T) {
	if testing.Short() {
		t.Skip("plays for seconds")
	}
	type mapping struct{ tags, priority int }
	hour := time.Hour
	for i, tt := range []struct {
		limit   int
		window  time.Duration
		fixed   bool
		rule    ratelimit.Rule
		spent   int // by others, before
		headers hub.Headers
		jobs    []mapping
		again   bool // some of it was synced before
	}{
		{limit: 100, window: hour, jobs: []mapping{{10, 0}}},
		{limit: 100, window: hour, jobs: []mapping{{60, 0}}},
		{limit: 100, window: hour, fixed: true, jobs: []mapping{{60, 0}}},
		{limit: 100, window: 6 * hour, jobs: []mapping{{100, 0}}},
		{limit: 100, window: 6 * hour, fixed: true, jobs: []mapping{{100, 0}}},
		{limit: 100, window: hour, rule: ratelimit.Rule{Keep: 30}, jobs: []mapping{{50, 0}}},
		{limit: 100, window: hour, rule: ratelimit.Rule{KeepPercent: 50}, jobs: []mapping{{50, 0}}},
		{limit: 100, window: hour, spent: 98, jobs: []mapping{{20, 0}}},
		{limit: 100, window: hour, spent: 60, jobs: []mapping{{20, 0}}},
		{limit: 100, window: hour, fixed: true, spent: 60, jobs: []mapping{{20, 0}}},
		{limit: 100, window: hour, headers: hub.Extended, jobs: []mapping{{80, 0}}},
		{limit: 40, window: hour, headers: hub.None, rule: ratelimit.Rule{Limit: 40, Window: hour}, jobs: []mapping{{30, 0}}},
		{limit: 100, window: hour, jobs: []mapping{{40, 0}, {5, 0}}},
		{limit: 100, window: hour, jobs: []mapping{{40, 0}, {30, 9}}},
		{limit: 100, window: hour, fixed: true, jobs: []mapping{{40, 0}, {30, 9}, {20, -1}}},
		{limit: 30, window: hour, jobs: []mapping{{20, 0}, {20, 0}, {20, 0}}},
		{limit: 10, window: 2 * hour, jobs: []mapping{{8, 0}}},
		{limit: 200, window: hour, rule: ratelimit.Rule{Keep: 10}, jobs: []mapping{{150, 1}, {10, 0}}},
		{limit: 60, window: hour, again: true, jobs: []mapping{{30, 0}}},
		{limit: 100, window: hour, again: true, fixed: true, rule: ratelimit.Rule{Keep: 5}, jobs: []mapping{{30, 0}, {20, 0}}},
	} {
		if i%3 != 0 && !fulltest.AllRounds() {
			continue
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rule := tt.rule
				rule.Metered = true
				s := newStand(t, hub.Options{Limit: tt.limit, Window: tt.window, Fixed: tt.fixed, Headers: tt.headers}, rule)
				defer s.stop(t)
				s.jobs = nil
				for k, m := range tt.jobs {
					job := s.named(t, fmt.Sprintf("job%d", k), fmt.Sprintf("copy%d", k))
					job.Source.Path, job.Priority = fmt.Sprintf("team/app%d", k), m.priority
					for tag := range m.tags {
						pushed := emulator.MultiArch(int64(1000*k+tag), emulator.ImageOptions{Layers: 1, LayerSize: 50, Attestations: k%2 == 1})
						if err := pushed.Push(s.source, job.Source.Path, fmt.Sprintf("v%d", tag)); err != nil {
							t.Fatal(err)
						}
					}
					s.jobs = append(s.jobs, job)
				}
				s.Spend(tt.spent)
				if tt.again {
					s.mirror.Sync(t.Context(), s.jobs)
					s.stop(t)
					time.Sleep(10 * time.Minute)
					s.start(t)
				}
				planned, pulls := needs(s.jobs, s.mirror.Plan(t.Context(), s.jobs))
				f, ok := s.governor.Forecast(image.DockerHub, "hub", planned, time.Now())
				if !ok || len(f.Shares) != len(s.jobs) || tt.spent > 0 && f.Others != tt.spent {
					t.Fatalf("%+v %t", f, ok)
				}
				before := s.Account().Pulled
				done := map[string]time.Time{}
				began := time.Now()
				s.onEach = func(r mirror.Result) {
					if _, known := done[r.Job]; !known && statuses(r)[record.Deferred] == 0 {
						done[r.Job] = time.Now()
					}
				}
				s.untilDone(t, nil)
				if a := s.Account(); a.Pulled-before != pulls || a.Repeated > 0 {
					t.Errorf("%d pulls, forecast were %d: %+v", a.Pulled-before, pulls, a)
				}
				last, forecast := time.Time{}, time.Time{}
				for _, share := range f.Shares {
					late := done[share.Job].Sub(share.Done)
					alone := 0
					for _, other := range f.Shares {
						if other.Priority == share.Priority {
							alone++
						}
					}
					if alone == 1 && late.Abs() > tt.window { // who of several is served first is not said
						t.Errorf("%s is done after %s, forecast was %s", share.Job, done[share.Job].Sub(began), share.Done.Sub(began))
					}
					t.Logf("%s: %d pulls, %d now; %s later than forecast, %s", share.Job, share.Pulls, share.Now, late.Round(time.Second), share.Done.Sub(began).Round(time.Second))
					last, forecast = later(last, done[share.Job]), later(forecast, share.Done)
				}
				if off := last.Sub(forecast); off.Abs() > tt.window {
					t.Errorf("all is done after %s, forecast was %s", last.Sub(began), forecast.Sub(began))
				}
			})
		})
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
