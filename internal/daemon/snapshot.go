package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// Snapshot returns the daemon's present state. It fails if the loop does not answer before ctx ends.
func (d *Daemon) Snapshot(ctx context.Context) (s record.Snapshot, err error) {
	trackers := map[string]*tracker{}
	if err := d.do(ctx, func() { s = d.snapshot(time.Now(), trackers) }); err != nil {
		return record.Snapshot{}, err
	}
	if s.Jobs, err = d.options.View.Board(ctx); err != nil {
		return record.Snapshot{}, err
	}
	if s.Paused, err = d.options.View.Paused(ctx); err != nil {
		return record.Snapshot{}, err
	}
	if s.Replicas, err = d.options.View.Replicas(ctx); err != nil {
		return record.Snapshot{}, err
	}
	s.Ledger = d.options.View.Ledger()
	s.Config.Hash, s.Config.InForce = d.options.View.Generations()
	for i := range s.Jobs {
		j := &s.Jobs[i]
		if t := trackers[j.Job]; t != nil && j.State == record.JobRunning {
			j.Progress = t.snapshot()
		}
	}
	slices.SortFunc(s.Jobs, func(a, b record.JobStatus) int { return strings.Compare(a.Job, b.Job) })
	return s, nil
}

// snapshot returns what the loop knows; the trackers are those of the jobs that run.
func (d *Daemon) snapshot(now time.Time, trackers map[string]*tracker) record.Snapshot {
	s := record.Snapshot{
		Started: d.started, Now: now, Stopping: d.stopped,
		Config: record.Config{Generation: d.current.number, Loaded: d.current.at, RejectedAt: d.reload.rejectedAt},
		Totals: record.Totals{Running: len(d.running), Parallel: d.current.Parallel},
	}
	if d.reload.rejected != nil {
		s.Config.Rejected, s.Config.Partly = strings.Split(d.reload.rejected.Error(), "\n"), d.reload.partly
	}
	for name, r := range d.running {
		trackers[name] = r.tracker
		moved, _ := r.tracker.times()
		s.Moved = latest(s.Moved, latest(moved, d.ended))
	}
	return s
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// Alive returns an error unless the loop answers before ctx ends.
func (d *Daemon) Alive(ctx context.Context) error { return d.do(ctx, func() {}) }
