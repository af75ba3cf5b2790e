package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/web"
)

// answers are what the daemon says over HTTP.
type answers struct {
	daemon *daemon.Daemon
	store  *store.Store // nil where there is none
	limits *limits
	azure  *atomic.Pointer[azureSide]
}

// Status implements web.Daemon.
func (a answers) Status(ctx context.Context) (web.Status, error) {
	s, err := a.daemon.Snapshot(ctx)
	if err != nil {
		return web.Status{}, unavailable(err)
	}
	status := web.Status{
		Dray: buildVersion().Version, Started: s.Started.UTC(), Now: s.At.UTC(), Stopping: s.Stopping,
		Config: web.Config{Generation: s.Generation, Loaded: s.Taken.UTC(), Rejected: []string{}},
		Jobs:   make([]web.JobStatus, 0, len(s.Jobs)),
	}
	status.Totals.Parallel = s.Parallel
	if s.Rejected != nil {
		status.Config.Rejected, status.Config.RejectedAt = strings.Split(s.Rejected.Error(), "\n"), s.RejectedAt.UTC()
	}
	for _, b := range a.limits.budgets() {
		status.Budgets = append(status.Budgets, web.Budget{
			Registry: b.Registry, Account: b.Account, Limit: b.Limit, Remaining: b.Remaining, Reserved: b.Reserved, Keep: b.Keep,
			Window: b.Window.Seconds(), RetryAt: b.RetryAt.UTC(),
		})
	}
	for _, c := range a.azure.Load().closed() {
		status.Closed = append(status.Closed, web.ClosedRegistry{Registry: c.Registry, Repositories: c.Repositories, Reason: record.Text(c.Reason)})
	}
	for _, j := range s.Jobs {
		status.Jobs = append(status.Jobs, jobStatus(j))
	}
	return status, nil
}

// runTime is what a run is granted, beyond when its job is due, before its job is called overdue.
const runTime = 10 * time.Minute

func jobStatus(j daemon.JobStatus) web.JobStatus {
	w := web.JobStatus{
		Job: j.Name, Schedule: j.Schedule.String(), Source: j.Source, State: web.Idle, Due: j.Due.UTC(), Trigger: string(j.Trigger),
		Started: j.Started.UTC(), LastSuccess: j.State.Succeeded.UTC(), Failures: j.State.Failures,
		DeferredUntil: j.Deferred.UTC(),
	}
	if !j.Deadline.IsZero() {
		w.ExpectedBy = j.Deadline.Add(runTime).UTC()
	}
	switch {
	case !j.Started.IsZero():
		w.State, w.Progress = web.Running, progressOf(j.Progress)
	case j.Waiting:
		w.State = web.Waiting
	case !j.Deferred.IsZero():
		w.State = web.Deferred
	case !j.Due.IsZero():
		w.State = web.Scheduled
	}
	if last := j.State.Last; last != nil {
		w.Last = new(*last)
	}
	return w
}

func progressOf(p daemon.Progress) *web.Progress {
	w := &web.Progress{Tags: p.Tags, Observed: p.Observed, Imports: p.Imports, Completed: p.Completed, UnderWay: []web.Import{}}
	for _, i := range p.Under {
		w.UnderWay = append(w.UnderWay, web.Import{Source: i.Source, Target: i.Target, Started: i.Started.UTC(), Bytes: i.Bytes, Total: i.Total})
	}
	return w
}

// History implements web.Daemon.
func (a answers) History(ctx context.Context, job string, limit int) ([]web.Run, error) {
	if a.store == nil {
		return nil, fmt.Errorf("there is no history without a store: %w", web.ErrUnavailable)
	}
	rows, err := a.store.History(ctx, store.HistoryQuery{Job: job, Limit: limit})
	if err != nil {
		return nil, err
	}
	runs := make([]web.Run, 0, len(rows))
	for _, r := range rows {
		runs = append(runs, runOf(r))
	}
	return runs, nil
}

func runOf(r store.Run) web.Run {
	last := recordOf(&r)
	w := web.Run{
		Job: r.Job, Trigger: last.Trigger, Started: last.Started, Ended: last.Ended, Seconds: last.Ended.Sub(last.Started).Seconds(),
		Error: last.Error, Outcome: last.Outcome, Counts: last.Counts, Actions: []web.Action{}, More: r.More, Repeats: r.Repeats, Since: r.Since.UTC(),
	}
	for _, o := range r.Outcomes {
		w.Actions = append(w.Actions, web.Action{
			Op: o.Op, Reason: o.Reason, Source: o.Source, Target: o.Target, Digest: o.Digest, Was: o.Was, Engine: o.Engine, Outcome: o.Outcome,
			Pulls: o.Pulls, Bytes: o.Bytes, Mounted: o.BytesMounted, Unverified: o.Unverified, Seconds: o.Duration.Seconds(), RetryAt: o.RetryAt.UTC(), Error: o.Error, Code: o.Code,
		})
	}
	return w
}

// Sync implements web.Daemon.
func (a answers) Sync(ctx context.Context, job string) (bool, error) {
	found, err := a.daemon.Trigger(ctx, job)
	return found, unavailable(err)
}

// Reload implements web.Daemon.
func (a answers) Reload(ctx context.Context) error { return unavailable(a.daemon.Reload(ctx, "http")) }

// nothingMoves is how long no run may get on before that is said.
const nothingMoves = 5 * time.Minute

// Ready implements web.Daemon.
func (a answers) Ready(ctx context.Context) error {
	s, err := a.daemon.Snapshot(ctx)
	switch {
	case err != nil:
		err = fmt.Errorf("the daemon: %w", err)
	case s.Stopping:
		err = daemon.ErrStopping
	case s.Rejected != nil:
		err = fmt.Errorf("the config is rejected: %w", s.Rejected)
	case !s.Moved.IsZero() && s.At.Sub(s.Moved) > nothingMoves:
		err = fmt.Errorf("nothing has moved for %s: all %d jobs under way wait for their registries", s.At.Sub(s.Moved).Round(time.Second), s.Running)
	}
	if a.store == nil {
		return errors.Join(err, errors.New("no store: dray continues without a memory"))
	}
	if broken := a.store.Writable(ctx); broken != nil {
		err = errors.Join(err, fmt.Errorf("the store: %w", broken))
	}
	return err
}

// Alive implements web.Daemon.
func (a answers) Alive(ctx context.Context) error { return a.daemon.Alive(ctx) }

// unavailable marks what is no fault of whoever asks.
func unavailable(err error) error {
	if errors.Is(err, daemon.ErrStopping) {
		return fmt.Errorf("%w: %w", web.ErrUnavailable, err)
	}
	return err
}
