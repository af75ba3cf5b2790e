package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/schedule"
	"github.com/draysync/dray/internal/store"
)

// keeping is a keeper of jobs as dray run has it, over a memory that outlives it.
type keeping struct {
	keeper
	t     *testing.T
	start func() memory
	store *store.Store
	close func()
}

// keepers runs a test over everything that keeps jobs.
func keepers(t *testing.T, test func(t *testing.T, k *keeping)) {
	t.Helper()
	options := store.Options{Now: time.Now}
	over := func(t *testing.T, open func() (memory, error)) {
		k := &keeping{t: t, start: func() memory {
			m, err := open()
			if err != nil {
				t.Fatal(err)
			}
			return m
		}}
		k.begin()
		defer func() { k.end() }()
		test(t, k)
	}
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		over(t, func() (memory, error) { return directory(t.Context(), dir, options) })
	})
	t.Run("ledger", func(t *testing.T) {
		t.Parallel()
		c := config.Cluster{Ledger: config.Secret(postgrestest.Database(t)), Name: "dray-1", Lease: 20 * time.Second}
		over(t, func() (memory, error) { return (&app{}).ledger(t.Context(), c, options) })
	})
}

// begin is what a process does at its start, end what it does at its end.
func (k *keeping) begin() {
	k.t.Helper()
	m := k.start()
	kept, err := m.keep(k.t.Context(), metrics.New("test"), slog.New(slog.DiscardHandler))
	if err != nil {
		k.t.Fatal(err)
	}
	k.keeper, k.store = kept.keeper, m.store
	k.close = func() {
		if member, ok := kept.holds.(*store.Member); ok { // a daemon tries that for a moment only
			if err := member.Leave(context.WithoutCancel(k.t.Context())); err != nil {
				k.t.Error(err)
			}
		}
		kept.Leave(context.WithoutCancel(k.t.Context()))
		if err := m.store.Close(); err != nil {
			k.t.Error(err)
		}
		kept.release()
	}
}

func (k *keeping) end() { k.close() }

func (k *keeping) offer(jobs ...daemon.Job) {
	k.t.Helper()
	if _, err := k.Offer(k.t.Context(), jobs); err != nil {
		k.t.Fatal(err)
	}
}

// take takes a job between registries that are not full.
func (k *keeping) take(full ...string) *record.Claim {
	k.t.Helper()
	claim, _, err := k.Take(k.t.Context(), full)
	if err != nil {
		k.t.Fatal(err)
	}
	return claim
}

// takes checks which job is taken and why; empty for none.
func (k *keeping) takes(job string, why record.Trigger) *record.Claim {
	k.t.Helper()
	claim := k.take()
	switch {
	case claim == nil && job != "":
		k.t.Fatalf("no job is due, where %s is", job)
	case claim == nil:
	case claim.Job != job || claim.State.Trigger != why:
		k.t.Fatalf("%q is taken, %s, where %q was due, %s", claim.Job, claim.State.Trigger, job, why)
	}
	return claim
}

// finish ends the run of a claim, whose job is due an hour later.
func (k *keeping) finish(claim *record.Claim) error {
	now := k.Now()
	s := claim.State
	s.Last = &record.Run{Started: claim.Begun, Ended: now, Trigger: s.Trigger, Outcome: record.RunOK}
	s.Fingerprint, s.Planned, s.Started, s.Ended, s.Succeeded = claim.Fingerprint, claim.Fingerprint, claim.Begun, now, now
	s.Due, s.Trigger, s.Asked, s.Begun, s.BegunBy, s.Deferred = now.Add(time.Hour), record.Scheduled, false, time.Time{}, "", time.Time{}
	s.Looks, s.Again, s.Tried = nil, nil, 0 // it has looked at all tags
	return k.End(k.t.Context(), claim, record.JobRun{Job: claim.Job, Run: *s.Last}, s)
}

func (k *keeping) finishes(claim *record.Claim) {
	k.t.Helper()
	if err := k.finish(claim); err != nil {
		k.t.Fatal(err)
	}
}

// lost checks that nothing is taken of a claim.
func (k *keeping) lost(claim *record.Claim) {
	k.t.Helper()
	if err := k.finish(claim); !errors.Is(err, record.ErrLost) {
		k.t.Errorf("the end of a lost claim: %v", err)
	}
	if err := k.GiveBack(k.t.Context(), claim); !errors.Is(err, record.ErrLost) {
		k.t.Errorf("the return of a lost claim: %v", err)
	}
}

// shows waits until the board shows a job so; a nil check is for none.
func (k *keeping) shows(job, what string, check func(record.JobStatus) bool) {
	k.t.Helper()
	var all []record.JobStatus
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if all, err = k.Board(k.t.Context()); err != nil {
			k.t.Fatal(err)
		}
		found := false
		for _, j := range all {
			if j.Job == job {
				found = true
				if check != nil && check(j) {
					return
				}
			}
		}
		if !found && check == nil {
			return
		}
	}
	k.t.Fatalf("the board does not show that %s %s: %+v", job, what, all)
}

// runs returns the recorded runs of a job, once there are so many.
func (k *keeping) runs(job string, n int) (runs []record.JobRun) {
	k.t.Helper()
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if runs, err = k.store.History(k.t.Context(), store.HistoryQuery{Job: job}); err != nil {
			k.t.Fatal(err)
		}
		if len(runs) >= n {
			break
		}
	}
	if len(runs) != n {
		k.t.Errorf("%d runs of %s are recorded, where %d have ended", len(runs), job, n)
	}
	return runs
}

// daily is a job that is due at once, and then when its last run has said.
func daily(t *testing.T, name, fingerprint string, priority int) daemon.Job {
	t.Helper()
	spec, err := schedule.Parse("@every 48h", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	return daemon.Job{Name: name, Source: "source", Fingerprint: fingerprint, Schedule: spec, Priority: priority, Registries: "registries of " + name}
}

// Jobs are taken by priority, each once, and none between registries that are full; and a run is recorded once.
func TestKeeperTakesAndEnds(t *testing.T) {
	keepers(t, func(t *testing.T, k *keeping) {
		k.offer(daily(t, "low", "f", 1), daily(t, "high", "f", 2))
		low := k.take("registries of high")
		if low == nil || low.Job != "low" || low.Fingerprint != "f" || low.State.Trigger != record.First || low.Token == 0 || low.Begun.IsZero() {
			t.Fatalf("%+v", low)
		}
		high := k.takes("high", record.First)
		if claim, next, err := k.Take(t.Context(), nil); claim != nil || !next.IsZero() || err != nil {
			t.Error("while all jobs run:", claim, next, err)
		}
		k.shows("low", "runs", func(j record.JobStatus) bool { return j.State == record.JobRunning && j.Started.Equal(low.Begun) })
		k.finishes(low)
		k.lost(low)
		k.shows("low", "has ended", func(j record.JobStatus) bool {
			return j.State == record.JobScheduled && j.Replica == "" && j.Last != nil && j.Last.Outcome == record.RunOK && j.Failures == 0 && !j.LastSuccess.IsZero()
		})
		claim, next, err := k.Take(t.Context(), nil)
		if wait := time.Until(next); claim != nil || wait > time.Hour || wait < 50*time.Minute || err != nil {
			t.Error("after the end:", claim, wait, err)
		}
		other := *high
		other.Token += 1000
		k.lost(&other)
		k.finishes(high)
		if runs := k.runs("low", 1); runs[0].Trigger != record.First || runs[0].Outcome != record.RunOK {
			t.Errorf("%+v", runs[0])
		}
		k.runs("high", 1)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if claim, _, err := k.Take(ended, nil); claim != nil || err == nil {
			t.Error("after the end of its context:", claim, err)
		}
	})
}

// A job that is given back is as if it had not been taken.
func TestKeeperGivesBack(t *testing.T) {
	keepers(t, func(t *testing.T, k *keeping) {
		k.offer(daily(t, "a", "f", 0))
		first := k.takes("a", record.First)
		if err := k.GiveBack(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		k.lost(first)
		again := k.takes("a", record.First)
		if d := cmp.Diff(first.State, again.State, cmpopts.EquateApproxTime(0)); d != "" || again.Token == first.Token {
			t.Error(again.Token, d)
		}
		k.finishes(again)
		if found, err := k.Ask(t.Context(), "a"); !found || err != nil {
			t.Fatal(found, err)
		}
		asked := k.takes("a", record.Asked)
		if err := k.GiveBack(t.Context(), asked); err != nil {
			t.Fatal(err)
		}
		k.finishes(k.takes("a", record.Asked))
		k.takes("", "")
		k.runs("a", 2)
	})
}

// Who asks for a job, or tells of an event, has it run once, after the run that is under way.
func TestKeeperIsAsked(t *testing.T) {
	keepers(t, func(t *testing.T, k *keeping) {
		ctx := t.Context()
		k.offer(daily(t, "a", "f", 0))
		if found, err := k.Ask(ctx, "other"); found || err != nil {
			t.Error(found, err)
		}
		claim := k.takes("a", record.First)
		for range 2 {
			if found, err := k.Ask(ctx, "a"); !found || err != nil {
				t.Error(found, err)
			}
		}
		k.takes("", "")
		k.finishes(claim)
		k.finishes(k.takes("a", record.Asked))
		k.takes("", "")

		if err := k.Look(ctx, "other", []string{"v1"}); err != nil {
			t.Error(err)
		}
		told := time.Now()
		if err := k.Look(ctx, "a", []string{"v1"}); err != nil {
			t.Fatal(err)
		}
		claim, next, err := k.Take(ctx, nil)
		if wait := time.Until(next); err != nil || claim == nil && wait > 3*time.Second || claim != nil && time.Since(told) < 2*time.Second {
			t.Fatal("after an event:", claim, wait, err)
		}
		for deadline := time.Now().Add(soon); claim == nil && time.Now().Before(deadline); claim = k.take() {
			<-time.After(max(time.Until(next), 10*time.Millisecond))
		}
		if claim == nil {
			t.Fatal("an event has no job run")
		}
		if !slices.Equal(claim.Some, []string{"v1"}) {
			t.Errorf("an event has the job look at %q", claim.Some)
		}
		if err := k.Look(ctx, "a", []string{"v2"}); err != nil {
			t.Error(err)
		}
		if err := k.GiveBack(ctx, claim); err != nil {
			t.Error(err)
		}
		if claim = k.take(); claim == nil || !slices.Equal(claim.Some, []string{"v1", "v2"}) {
			t.Fatalf("given back: %+v", claim)
		}
		k.finishes(claim)
		if found, err := k.Ask(ctx, "a"); !found || err != nil {
			t.Error(found, err)
		}
		if err := k.Look(ctx, "a", []string{"v1"}); err != nil { // it runs sooner anyway
			t.Error(err)
		}
		k.finishes(k.takes("a", record.Asked))
		k.takes("", "")
	})
}

// A job that changes while it runs ends first, and then runs as it is now; one that is removed meanwhile ends too, and comes back as it was.
func TestKeeperTakesAnotherConfig(t *testing.T) {
	keepers(t, func(t *testing.T, k *keeping) {
		k.offer(daily(t, "changed", "f", 2), daily(t, "removed", "f", 1), daily(t, "same", "f", 0))
		changed, removed, same := k.takes("changed", record.First), k.takes("removed", record.First), k.takes("same", record.First)
		k.offer(daily(t, "changed", "g", 2), daily(t, "same", "f", 0), daily(t, "new", "f", 0))
		k.finishes(k.takes("new", record.First))
		k.takes("", "")
		k.shows("removed", "is gone", nil)
		k.shows("changed", "runs", func(j record.JobStatus) bool { return j.State == record.JobRunning })
		if found, err := k.Ask(t.Context(), "removed"); found || err != nil {
			t.Error(found, err)
		}
		for _, claim := range []*record.Claim{changed, removed, same} {
			k.finishes(claim)
		}
		again := k.takes("changed", record.First)
		if again.Fingerprint != "g" {
			t.Error(again.Fingerprint)
		}
		k.finishes(again)
		k.takes("", "")
		k.offer(daily(t, "changed", "g", 2), daily(t, "removed", "f", 1), daily(t, "same", "f", 0))
		k.takes("", "")
		k.shows("removed", "is back", func(j record.JobStatus) bool { return j.State == record.JobScheduled && j.Last != nil })
		k.runs("removed", 1)
	})
}

// The next process goes on where one has ended: what has run is not due again, and what was under way is.
func TestKeeperBeginsAnew(t *testing.T) {
	keepers(t, func(t *testing.T, k *keeping) {
		jobs := []daemon.Job{daily(t, "done", "f", 1), daily(t, "under way", "f", 0)}
		k.offer(jobs...)
		k.finishes(k.takes("done", record.First))
		cut := k.takes("under way", record.First)
		k.end()
		k.begin()
		k.offer(jobs...)
		again := k.takes("under way", record.First)
		if again.Begun.Before(cut.Begun) {
			t.Error(again.Begun, cut.Begun)
		}
		k.takes("", "")
		k.finishes(again)
		k.runs("done", 1)
	})
}

// A paused job is not taken unless it was asked for since; a pause survives the process, and ends when the job is gone.
func TestKeeperPauses(t *testing.T) {
	keepers(t, func(t *testing.T, k *keeping) {
		ctx := t.Context()
		pause := func(job string, want bool) {
			t.Helper()
			if found, err := k.Pause(ctx, job, record.Pause{Since: k.Now(), By: "ann", Reason: "why"}); found != want || err != nil {
				t.Fatal(found, err)
			}
		}
		resume := func(job string, want bool) {
			t.Helper()
			if found, err := k.Resume(ctx, job); found != want || err != nil {
				t.Fatal(found, err)
			}
		}
		ask := func(job string) {
			t.Helper()
			if found, err := k.Ask(ctx, job); !found || err != nil {
				t.Fatal(found, err)
			}
		}
		jobs := []daemon.Job{daily(t, "a", "f", 2), daily(t, "b", "f", 1)}
		k.offer(jobs...)
		pause("none", false)
		resume("none", false)
		resume("a", true)
		pause("a", true)
		k.shows("a", "is paused", func(j record.JobStatus) bool {
			return j.State == record.JobPaused && j.Due.IsZero() && j.Paused.By == "ann" && j.Paused.Reason == "why" && !j.Paused.Since.IsZero() && !j.Paused.All
		})
		b := k.takes("b", record.First)
		k.finishes(b)
		if claim, next, err := k.Take(ctx, nil); claim != nil || err != nil || time.Until(next) < 10*time.Minute {
			t.Fatal("a paused job makes the daemon look again:", claim, next, err)
		}
		ask("a")
		pause("a", true) // once more: what was asked for before waits
		k.takes("", "")
		ask("a")
		a := k.takes("a", record.Asked)
		if err := k.GiveBack(ctx, a); err != nil {
			t.Fatal(err)
		}
		if a = k.take(); a == nil || a.Job != "a" {
			t.Fatal("what was asked for is not taken again after it was given back:", a)
		}
		if err := k.Look(ctx, "a", []string{"v1"}); err != nil {
			t.Fatal(err)
		}
		k.finishes(a)
		k.takes("", "")

		k.end()
		k.begin()
		k.offer(jobs...)
		k.takes("", "")
		k.shows("a", "is still paused", func(j record.JobStatus) bool { return j.State == record.JobPaused })
		pause("", true)
		k.offer(daily(t, "a", "g", 2), daily(t, "new", "f", 1)) // b is gone
		k.takes("", "")
		k.shows("new", "is paused with all", func(j record.JobStatus) bool { return j.State == record.JobPaused && j.Paused.All })
		if all, err := k.Paused(ctx); err != nil || all == nil || !all.All || all.By != "ann" {
			t.Error(all, err)
		}
		k.end()
		k.begin()
		k.offer(daily(t, "a", "g", 2), daily(t, "new", "f", 1))
		k.takes("", "")
		resume("", true)
		k.finishes(k.takes("new", record.First))
		k.takes("", "")
		k.offer(daily(t, "new", "f", 1))
		k.offer(daily(t, "a", "g", 2), daily(t, "new", "f", 1))
		k.shows("a", "is not paused", func(j record.JobStatus) bool { return j.Paused == nil })
		if claim := k.take(); claim == nil || claim.Job != "a" || claim.Fingerprint != "g" {
			t.Error(claim)
		}
		if all, err := k.Paused(ctx); err != nil || all != nil {
			t.Error(all, err)
		}
	})
}
