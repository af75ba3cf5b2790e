package web

import (
	"time"

	"github.com/draysync/dray/internal/record"
)

// documentVersion is raised by a change that breaks a program that reads the documents.
const documentVersion = 1

// Status is the document of GET /api/v1/status: the daemon at one moment. Times are in UTC; those that do not exist are absent.
//
// Whoever makes one fills everything but Version, Totals, and the jobs' ages and Overdue, which the server does.
type Status struct {
	Version int `json:"version"`
	// Dray is the version of the program.
	Dray    string    `json:"dray"`
	Started time.Time `json:"started,omitzero"`
	Now     time.Time `json:"now"`
	// Stopping is set once nothing new begins.
	Stopping bool   `json:"stopping"`
	Config   Config `json:"config"`
	Totals   Totals `json:"totals"`
	// Budgets are what registries allow to pull, as far as it is known.
	Budgets []Budget `json:"budgets,omitempty"`
	// Closed are target registries that cannot be looked at, as far as is known: Azure imports into them.
	Closed []ClosedRegistry `json:"closed_registries,omitempty"`
	// Jobs are sorted by name. It comes last, so that the rest can be read without it.
	Jobs []JobStatus `json:"jobs"`
}

// Config is which config runs, and why not the one that is there now.
type Config struct {
	// Generation is how many configs this process has taken over; Loaded is when it took the last one.
	Generation int       `json:"generation"`
	Loaded     time.Time `json:"loaded,omitzero"`
	// Rejected has a line for each mistake of the config as it is now. It is empty where that runs.
	Rejected   []string  `json:"rejected"`
	RejectedAt time.Time `json:"rejected_at,omitzero"`
}

// Totals counts jobs. One may count more than once.
type Totals struct {
	Jobs    int `json:"jobs"`
	Running int `json:"running"`
	// Parallel is how many may run at once.
	Parallel int `json:"parallel"`
	Waiting  int `json:"waiting"`
	Deferred int `json:"deferred"`
	// Failing jobs have failed since their last success; Overdue ones are without a success for longer than their schedule allows.
	Failing int `json:"failing"`
	Overdue int `json:"overdue"`
}

// Budget is what a registry allows an account, or the address of this machine, to pull in a window of time.
type Budget struct {
	Registry string `json:"registry"`
	// Account is the entry of the config that signs in, or the registry itself.
	Account   string `json:"account"`
	Limit     int    `json:"limit"`
	Remaining int    `json:"remaining"`
	// Reserved are pulls under way, and Keep those that are left to others.
	Reserved int     `json:"reserved"`
	Keep     int     `json:"keep"`
	Window   float64 `json:"window_seconds"`
	// RetryAt is when what does not fit now is tried again; absent where there is something left.
	RetryAt time.Time `json:"retry_at,omitzero"`
}

// ClosedRegistry is a target registry whose data plane takes no requests from here, or not of this identity, or is not to be asked.
type ClosedRegistry struct {
	Registry string `json:"registry"`
	// Repositories is how many of its repositories cannot be looked at, and Reason why the first of them cannot.
	Repositories int    `json:"repositories"`
	Reason       string `json:"reason"`
}

// State is what a job does.
type State string

// The states of a job.
const (
	Running State = "running"
	// Waiting: it is due, and no place is free.
	Waiting   State = "waiting"
	Scheduled State = "scheduled"
	// Deferred: a registry's budget does not allow it before DeferredUntil.
	Deferred State = "deferred"
	// Idle: nothing will start it but a change, or somebody who asks.
	Idle State = "idle"
)

// JobStatus is one job at one moment.
type JobStatus struct {
	Job string `json:"job"`
	// Schedule is as the config has it; empty for none.
	Schedule string `json:"schedule"`
	// Source is what it mirrors; empty where that is not said.
	Source string `json:"source,omitempty"`
	State  State  `json:"state"`
	// Due is when it runs next, absent for never and while it runs; Trigger is why it will, or why it runs: "first", "schedule",
	// "retry" or "manual".
	Due     time.Time `json:"due,omitzero"`
	Trigger string    `json:"trigger"`
	// Started is when the run under way began.
	Started time.Time `json:"started,omitzero"`
	// Last is the run that ended last.
	Last        *LastRun  `json:"last_run,omitempty"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	// SuccessAge is absent where there was no success.
	SuccessAge *float64 `json:"success_age_seconds,omitempty"`
	// ExpectedBy is by when the schedule lets one expect the next success, and Overdue that it has passed.
	ExpectedBy time.Time `json:"expected_by,omitzero"`
	Overdue    bool      `json:"overdue"`
	// Failures counts the runs with failures since the last success.
	Failures      int       `json:"failures"`
	DeferredUntil time.Time `json:"deferred_until,omitzero"`
	// Progress is that of the run under way.
	Progress *Progress `json:"progress,omitempty"`
}

// Result is how a run ended.
type Result = record.Result

// The results of a run.
const (
	OK        = record.OK
	Failed    = record.Failed
	Partly    = record.Partly
	Postponed = record.Postponed
	CutOff    = record.CutOff
)

// LastRun is how a job's last run ended.
type LastRun = record.Run

// Counts is how many of a run's actions ended in which way, and what it took.
type Counts = record.Counts

// Progress is how a run gets on.
type Progress struct {
	// Tags are to be looked at, and Observed have been; Imports are to be made, and Completed have ended.
	Tags      int `json:"tags"`
	Observed  int `json:"observed"`
	Imports   int `json:"imports"`
	Completed int `json:"completed"`
	// UnderWay are the imports being made, the oldest first.
	UnderWay []Import `json:"under_way"`
}

// Import is one import under way.
type Import struct {
	Source  string    `json:"source"`
	Target  string    `json:"target"`
	Started time.Time `json:"started,omitzero"`
	// Bytes have passed, or need not, of Total as far as that is known; Total is 0 as long as nothing is.
	Bytes int64 `json:"bytes"`
	Total int64 `json:"total"`
}

// Jobs is the document of GET /api/v1/jobs.
type Jobs struct {
	Version int         `json:"version"`
	Now     time.Time   `json:"now"`
	Jobs    []JobStatus `json:"jobs"`
}
