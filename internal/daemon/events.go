package daemon

import (
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

// Events receives what happens. Calls come one at a time, and must not block.
type Events interface {
	// Ran is called when a run has ended; before is the job's state before it.
	Ran(run Run, before record.State)
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
