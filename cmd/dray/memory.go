package main

import (
	"context"
	"time"

	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/mirror"
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
		}
	}
	return states, nil
}

// Keep implements daemon.Memory.
func (h history) Keep(ctx context.Context, run daemon.Run) error {
	s := run.State
	_, err := h.store.KeepRun(ctx, rowOf(run), store.JobState{
		Job: run.Job, Fingerprint: s.Fingerprint, Anchor: s.Anchor, Started: s.Started, Ended: s.Ended, Succeeded: s.Succeeded, Failures: s.Failures,
	})
	return err
}

// Anchor implements daemon.Memory.
func (h history) Anchor(ctx context.Context, anchors map[string]time.Time) error {
	return h.store.KeepAnchors(ctx, anchors)
}

func rowOf(run daemon.Run) store.Run {
	r := run.Result
	row := store.Run{Job: run.Job, Trigger: string(run.Trigger), Error: errorText(r.Err), Started: r.Started, Ended: r.Started.Add(r.Duration)}
	counts := countsOf(r)
	row.Keep, row.Import, row.Refuse, row.Failed, row.Deferred = counts.Kept, counts.Imported, counts.Refused, counts.Failed, counts.Deferred
	for _, out := range r.Outcomes {
		row.Pulls += out.Pulls
		row.Bytes += out.Bytes
		row.BytesMounted += out.Mounted
		if out.Status == mirror.Kept {
			continue
		}
		row.Outcomes = append(row.Outcomes, store.RunOutcome{
			Op: string(out.Op), Outcome: string(out.Status), Reason: string(out.Reason), Source: out.Source.WithDigest("").String(),
			Target: out.Target.String(), Digest: string(out.Digest), Was: string(out.Was), Engine: out.Engine, Error: explanation(out), Code: codeOf(out.Err),
			Pulls: out.Pulls, Bytes: out.Bytes, BytesMounted: out.Mounted, Duration: out.Duration, RetryAt: out.RetryAt,
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

// Anchor implements daemon.Memory.
func (forgetful) Anchor(context.Context, map[string]time.Time) error { return nil }
