package main

import (
	"context"

	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/store"
)

// history keeps runs and states of jobs in the store.
type history struct{ store *store.Store }

// States implements daemon.Memory.
func (h history) States(ctx context.Context) (map[string]daemon.State, error) {
	rows, err := h.store.JobStates(ctx)
	if err != nil {
		return nil, err
	}
	states := make(map[string]daemon.State, len(rows))
	for name, r := range rows {
		states[name] = daemon.State{
			Fingerprint: r.Fingerprint, Anchor: r.Anchor, Started: r.Started, Ended: r.Ended, Succeeded: r.Succeeded, Failures: r.Failures,
			Deferred: r.Deferred, Given: r.Given, Vain: r.Vain, Due: r.Due, Trigger: daemon.Trigger(r.DueTrigger), Planned: r.Planned,
			Asked: r.Asked, Begun: r.Begun, BegunBy: daemon.Trigger(r.BegunTrigger), Last: recordOf(r.Last),
		}
	}
	return states, nil
}

// recordOf returns the record of a run; nil for none.
func recordOf(r *store.Run) *record.Run {
	if r == nil {
		return nil
	}
	return &record.Run{
		Started: r.Started, Ended: r.Ended, Outcome: r.Outcome, Trigger: r.Trigger, Error: r.Error,
		Counts: record.Counts{
			Keep: r.Keep, Import: r.Import, Refuse: r.Refuse, Failed: r.Failed, Deferred: r.Deferred, Pulls: r.Pulls, Bytes: r.Bytes, Mounted: r.BytesMounted, Unverified: r.Unverified,
		},
	}
}

func stateOf(job string, s daemon.State) store.JobState {
	return store.JobState{
		Job: job, Fingerprint: s.Fingerprint, Anchor: s.Anchor, Started: s.Started, Ended: s.Ended, Succeeded: s.Succeeded, Failures: s.Failures,
		Deferred: s.Deferred, Given: s.Given, Vain: s.Vain, Due: s.Due, DueTrigger: string(s.Trigger), Planned: s.Planned,
		Asked: s.Asked, Begun: s.Begun, BegunTrigger: string(s.BegunBy),
	}
}

// Keep implements daemon.Memory.
func (h history) Keep(ctx context.Context, run daemon.Run) error {
	_, err := h.store.KeepRun(ctx, rowOf(run), stateOf(run.Job, run.State))
	return err
}

// Save implements daemon.Memory.
func (h history) Save(ctx context.Context, states map[string]daemon.State) error {
	list := make([]store.JobState, 0, len(states))
	for job, s := range states {
		list = append(list, stateOf(job, s))
	}
	return h.store.KeepJobs(ctx, list)
}

func rowOf(run daemon.Run) store.Run {
	last := run.State.Last
	c := last.Counts
	row := store.Run{
		Job: run.Job, Trigger: last.Trigger, Outcome: last.Outcome, Error: last.Error, Started: last.Started, Ended: last.Ended,
		Keep: c.Keep, Import: c.Import, Refuse: c.Refuse, Failed: c.Failed, Deferred: c.Deferred, Pulls: c.Pulls, Bytes: c.Bytes, BytesMounted: c.Mounted, Unverified: c.Unverified,
	}
	for _, out := range run.Result.Outcomes {
		if out.Status == mirror.Kept {
			continue
		}
		row.Outcomes = append(row.Outcomes, store.RunOutcome{
			Op: string(out.Op), Outcome: string(out.Status), Reason: string(out.Reason), Source: out.Source.WithDigest("").String(),
			Target: out.Target.String(), Digest: string(out.Digest), Was: string(out.Was), Engine: out.Engine, Error: explanation(out), Code: record.Code(out.Err),
			Pulls: out.Pulls, Bytes: out.Bytes, BytesMounted: out.Mounted, Unverified: out.Unverified, Duration: out.Duration, RetryAt: out.RetryAt,
		})
	}
	return row
}

// forgetful is the memory of a daemon without a store.
type forgetful struct{}

// States implements daemon.Memory.
func (forgetful) States(context.Context) (map[string]daemon.State, error) { return nil, nil }

// Keep implements daemon.Memory.
func (forgetful) Keep(context.Context, daemon.Run) error { return nil }

// Save implements daemon.Memory.
func (forgetful) Save(context.Context, map[string]daemon.State) error { return nil }
