package daemon

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Snapshot is the daemon at one moment.
type Snapshot struct {
	At, Started time.Time
	Stopping    bool
	// Generation is the number of configs taken over, Taken when the last one was.
	Generation int
	Taken      time.Time
	// Rejected is why the config as it is now does not run, and RejectedAt since when; nil where it does.
	Rejected   error
	RejectedAt time.Time
	// Jobs are sorted by name.
	Jobs []JobStatus
	// Running is how many of them run, and Parallel how many may.
	Running, Parallel int
	// Moved is when anything moved last in a run that is under way, or a run ended; zero where none is under way.
	Moved time.Time
}

// JobStatus is one job at one moment.
type JobStatus struct {
	Job
	State State
	// Due is when it runs next; zero for never, and while it runs.
	Due time.Time
	// Deadline is by when a success is expected: the first time that the job was due after the last one. Zero where none is.
	Deadline time.Time
	// Waiting is set where it is due, and no slot is free.
	Waiting bool
	// Deferred is until when what a budget has deferred waits; zero for nothing.
	Deferred time.Time
	// Started is when the run under way began; zero where none is.
	Started time.Time
	// Trigger is why it runs, or will run next.
	Trigger Trigger
	// Progress is that of the run under way.
	Progress Progress
}

// Progress is how a run gets on.
type Progress struct {
	// Tags are those to observe, and Observed those that were; Imports are those planned, and Completed those that have ended.
	Tags, Observed, Imports, Completed int
	Under                              []Import
}

// Import is one import under way.
type Import struct {
	Source, Target string
	Started        time.Time
	// Bytes have passed or need not, of Total as far as that is known.
	Bytes, Total int64
}

// Snapshot returns the daemon as it is now. It fails when the loop does not answer before ctx ends.
func (d *Daemon) Snapshot(ctx context.Context) (s Snapshot, err error) {
	err = d.do(ctx, func() { s = d.snapshot(time.Now()) })
	return s, err
}

func (d *Daemon) snapshot(now time.Time) Snapshot {
	s := Snapshot{
		At: now, Started: d.started, Stopping: d.stopped, Generation: d.current.number, Taken: d.current.at,
		Rejected: d.reload.rejected, RejectedAt: d.reload.rejectedAt, Running: len(d.running), Parallel: d.current.Parallel,
		Jobs: make([]JobStatus, 0, len(d.entries)),
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
	slices.SortFunc(s.Jobs, func(a, b JobStatus) int { return strings.Compare(a.Name, b.Name) })
	return s
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (e *entry) status(now time.Time) JobStatus {
	j := JobStatus{Job: e.Job, State: e.state, Due: e.state.Due, Deadline: e.deadline(), Deferred: e.state.Deferred, Trigger: e.state.Trigger}
	if r := e.running; r != nil {
		j.Started, j.Trigger, j.Progress = e.state.Begun, e.state.BegunBy, r.tracker.snapshot()
	} else {
		j.Waiting = !j.Due.IsZero() && !j.Due.After(now)
	}
	return j
}

// Alive returns an error unless the loop answers before ctx ends.
func (d *Daemon) Alive(ctx context.Context) error { return d.do(ctx, func() {}) }
