// Package record says what is known of a job and its runs. The daemon, its store, the status page, the API, metrics, notifications and the
// command line use the same values, so that all say the same. Their JSON is what other programs see.
package record

import "time"

// Result is how a run ended.
type Result string

// The results of a run.
const (
	RunOK Result = "ok"
	// RunFailed: nothing was done, or all that was to do failed.
	RunFailed Result = "failed"
	// RunPartly: some of it failed.
	RunPartly Result = "partly"
	// RunDeferred: nothing failed, and a registry's budget put some of it off.
	RunDeferred Result = "deferred"
	// RunCutOff: the process ended before the run did. The job is due again.
	RunCutOff Result = "cut-off"
)

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

// Run is how a run ended.
type Run struct {
	Started time.Time `json:"started,omitzero"`
	// Ended is when the run ended; when it started, for one that a killed process left, as nothing more is known.
	Ended   time.Time `json:"ended,omitzero"`
	Outcome Result    `json:"outcome"`
	// Trigger is why it ran.
	Trigger Trigger `json:"trigger,omitempty"`
	// Error is why the run failed, or the first thing of it that did; empty where nothing did.
	Error  string `json:"error"`
	Counts Counts `json:"counts"`
}

// JobRun is one run of a job in the history. Times are exact to a millisecond.
type JobRun struct {
	// ID is given by the store; later runs have larger ones.
	ID  int64  `json:"-"`
	Job string `json:"job"`
	Run
	Duration Seconds `json:"duration_seconds"`
	// Repeats counts runs right before this one that did nothing either, for which it stands too; Since is when the first of them began.
	Repeats int       `json:"repeats,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Actions are those that were not kept as they are, as far as they are remembered; More counts the others of them.
	Actions []Action `json:"actions"`
	More    int      `json:"more_actions,omitempty"`
}
