package daemon

import (
	"context"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// Run is a run that has ended.
type Run struct {
	record.JobRun
	Result mirror.Result
	// State is the job's state after it.
	State record.State
}

// Memory lasts across restarts. Its errors are logged; the daemon goes on without what was not saved.
type Memory interface {
	// JobStates returns the states of all jobs, by name.
	JobStates(ctx context.Context) (map[string]record.State, error)
	// KeepRun saves a run and the state of its job.
	KeepRun(ctx context.Context, run record.JobRun, state record.State) error
	// KeepJobs saves the states of jobs, by name.
	KeepJobs(ctx context.Context, states map[string]record.State) error
}

// Events receives what happens. Calls come one at a time, and must not block.
type Events interface {
	// Ran is called when a run has ended; before is the job's state before it.
	Ran(run Run, before record.State)
	// Scheduled is called when a job's status or next run has changed.
	Scheduled(job record.JobStatus)
	// Removed is called when a job is gone.
	Removed(job string)
	// Reloaded is called after each attempt to load a config; err is why it was rejected, generation the one that runs.
	Reloaded(at time.Time, generation int, err error)
}

// Manager is the service manager that started the process.
type Manager interface {
	Ready(status string) error
	Reloading() error
	Status(text string) error
	Watchdog() error
	WatchdogInterval() time.Duration
	Stopping() error
}
