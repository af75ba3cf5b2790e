// Package record has the facts about jobs and their runs. Daemon, store, status page, API, metrics, notifications and command line share
// these values, so that all report the same. Their JSON is what other programs see.
package record

import "time"

// Result is how a run ended.
type Result string

// The results of a run.
const (
	RunOK Result = "ok"
	// RunFailed: nothing was done, or everything failed.
	RunFailed Result = "failed"
	// RunPartly: some of it failed.
	RunPartly Result = "partly"
	// RunDeferred: nothing failed, and some of it waits for a registry's budget.
	RunDeferred Result = "deferred"
	// RunCutOff: the process ended before the run did, or the job changed while it ran. The job is due again.
	RunCutOff Result = "cut-off"
)

// Trigger is why a job runs.
type Trigger string

// The triggers.
const (
	// First: the job has never run, or has changed since.
	First Trigger = "first"
	// Scheduled: it is time, or was while dray did not run.
	Scheduled Trigger = "schedule"
	// Retried: a registry's budget allows what was deferred.
	Retried Trigger = "retry"
	// Asked: someone has requested it.
	Asked Trigger = "manual"
	// Event: a registry said that tags were pushed. Only these are looked at.
	Event Trigger = "event"
	// Approved: someone has approved a plan. Only its imports are made.
	Approved Trigger = "approved"
)

// Run is a run that has ended.
type Run struct {
	Started time.Time `json:"started,omitzero"`
	// Ended is when the run ended; for one that a killed process left, when it started, since nothing more is known.
	Ended   time.Time `json:"ended,omitzero"`
	Outcome Result    `json:"outcome"`
	// Trigger is why it ran.
	Trigger Trigger `json:"trigger,omitempty"`
	// Error is why the run failed, or its first failure; empty if there was none.
	Error  string `json:"error"`
	Counts Counts `json:"counts"`
}

// JobRun is a run in the history of a job. Times are exact to a millisecond.
type JobRun struct {
	// ID is assigned by the store; later runs have larger ones.
	ID  int64  `json:"-"`
	Job string `json:"job"`
	Run
	Duration Seconds `json:"duration_seconds"`
	// Repeats counts earlier runs in a row that did nothing either, which this one represents; Since is when the first of them began.
	Repeats int       `json:"repeats,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Actions are those that changed something or failed, as far as they are saved; More counts the others of these.
	Actions []Action `json:"actions"`
	More    int      `json:"more_actions,omitempty"`
}
