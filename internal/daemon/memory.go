package daemon

import (
	"context"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// Run is one run of a job that has ended.
type Run struct {
	record.JobRun
	Result mirror.Result
	// State is the job's after it.
	State record.State
}

// Memory lasts across restarts. Its errors are logged; the daemon goes on without what it could not keep.
type Memory interface {
	// JobStates returns those of all jobs, by name.
	JobStates(ctx context.Context) (map[string]record.State, error)
	// KeepRun notes a run and the state of its job.
	KeepRun(ctx context.Context, run record.JobRun, state record.State) error
	// KeepJobs notes the states of jobs, by name.
	KeepJobs(ctx context.Context, states map[string]record.State) error
}

// Events are told what happens. Calls come one at a time, and must not block.
type Events interface {
	// Ran is called when a run has ended; before is the job's state before it.
	Ran(run Run, before record.State)
	// Scheduled is called when it has changed how a job stands, or when it runs next.
	Scheduled(job record.JobStatus)
	// Removed is called when a job is no more.
	Removed(job string)
	// Reloaded is called after each try to take over a config; err is why it was rejected, generation the one that runs.
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
