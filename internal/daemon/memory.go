package daemon

import (
	"context"
	"time"

	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// State is what lasts of a job over restarts. Its times are exact to a millisecond, so that a restart changes none.
type State struct {
	// Fingerprint is that of the job as it last ran.
	Fingerprint string
	// Anchor is from when on an "@every" schedule counts: when the job became known, or got another one.
	Anchor time.Time
	// Started is when the last run began that was not cut off, and Ended when the last run ended; zero if there was none.
	Started, Ended time.Time
	// Succeeded is when the last run that had no failure ended; zero if there was none.
	Succeeded time.Time
	// Failures counts the runs with failures since then.
	Failures int
	// Last is the run that ended last; nil for none.
	Last *record.Run
	// Deferred is until when what a registry's budget has put off waits; zero for nothing. Given is when a run last brought anything, and
	// Vain how many runs in a row have left something deferred and brought nothing.
	Deferred, Given time.Time
	Vain            int
	// Due is when it runs next, zero for never and while it runs, and Trigger why; Planned is the fingerprint for which that holds.
	Due     time.Time
	Trigger Trigger
	Planned string
	// Asked is set where somebody wants a run that has not begun.
	Asked bool
	// Begun is when the run under way began, zero for none, and BegunBy why.
	Begun   time.Time
	BegunBy Trigger
}

// Run is one run of a job that has ended.
type Run struct {
	Job    string
	Result mirror.Result
	// State is the job's after it: its Last is the run's record.
	State State
}

// Memory lasts across restarts. Its errors are logged; the daemon goes on without what it could not keep.
type Memory interface {
	// States returns those of all jobs, by name.
	States(ctx context.Context) (map[string]State, error)
	// Keep notes a run and the state of its job.
	Keep(ctx context.Context, run Run) error
	// Save notes the states of jobs, by name.
	Save(ctx context.Context, states map[string]State) error
}

// Trigger is why a job runs.
type Trigger string

// The triggers.
const (
	// First: the job has never run, or was changed since.
	First Trigger = "first"
	// Scheduled: its time has come, or had come while nothing ran it.
	Scheduled Trigger = "schedule"
	// Retried: a registry's budget allows what it has deferred.
	Retried Trigger = "retry"
	// Asked: somebody has asked for it.
	Asked Trigger = "manual"
)

// Events are told what happens. Calls come one at a time, and must not block.
type Events interface {
	// Ran is called when a run has ended; before is the job's state before it.
	Ran(run Run, before State)
	// Scheduled is called when it has changed how a job stands, or when it runs next.
	Scheduled(job JobStatus)
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
