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
	err = d.do(ctx, func() { s = d.snapshot(time.Now()) })
	return s, err
}

func (d *Daemon) snapshot(now time.Time) record.Snapshot {
	s := record.Snapshot{
		Started: d.started, Now: now, Stopping: d.stopped,
		Config: record.Config{Generation: d.current.number, Loaded: d.current.at, RejectedAt: d.reload.rejectedAt},
		Totals: record.Totals{Running: len(d.running), Parallel: d.current.Parallel},
		Jobs:   make([]record.JobStatus, 0, len(d.entries)),
	}
	if d.reload.rejected != nil {
		s.Config.Rejected = strings.Split(d.reload.rejected.Error(), "\n")
	}
	for _, e := range d.entries {
		if e.running != nil {
			moved, _ := e.running.tracker.times()
			s.Moved = latest(s.Moved, latest(moved, d.ended))
		}
		if e.removed {
			continue
		}
		s.Jobs = append(s.Jobs, e.status(now))
	}
	slices.SortFunc(s.Jobs, func(a, b record.JobStatus) int { return strings.Compare(a.Job, b.Job) })
	return s
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (e *entry) status(now time.Time) record.JobStatus {
	j := status(e.Job, e.state, now)
	if e.running != nil {
		j.Progress = e.running.tracker.snapshot()
	}
	return j
}

// Alive returns an error unless the loop answers before ctx ends.
func (d *Daemon) Alive(ctx context.Context) error { return d.do(ctx, func() {}) }
