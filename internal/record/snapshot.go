package record

import (
	"cmp"
	"time"
)

// Snapshot is the daemon at one moment: the document of GET /api/v1/status. In JSON times are in UTC and in whole seconds; those that do not
// exist are absent. The HTTP server fills Version, Totals, and the jobs' SuccessAge, ExpectedBy and Overdue.
type Snapshot struct {
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
	// Moved is when anything moved last in a run that is under way, or a run ended; zero where none is under way.
	Moved time.Time `json:"-"`
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

// Add counts a job.
func (t *Totals) Add(j *JobStatus) {
	switch j.State {
	case JobRunning:
		t.Running++
	case JobWaiting:
		t.Waiting++
	case JobDeferred:
		t.Deferred++
	case JobScheduled, JobIdle:
	}
	if j.Failures > 0 {
		t.Failing++
	}
	if j.Overdue {
		t.Overdue++
	}
}

// ClosedRegistry is a target registry whose data plane takes no requests from here, or not of this identity, or is not to be asked.
type ClosedRegistry struct {
	Registry string `json:"registry"`
	// Repositories is how many of its repositories cannot be looked at, and Reason why the first of them cannot.
	Repositories int    `json:"repositories"`
	Reason       string `json:"reason"`
}

// Activity is what a job does.
type Activity string

// The activities of a job.
const (
	JobRunning Activity = "running"
	// JobWaiting: it is due, and no slot is free.
	JobWaiting   Activity = "waiting"
	JobScheduled Activity = "scheduled"
	// JobDeferred: a registry's budget does not allow it before DeferredUntil.
	JobDeferred Activity = "deferred"
	// JobIdle: nothing will start it but a change, or somebody who asks.
	JobIdle Activity = "idle"
)

// JobStatus is one job at one moment.
type JobStatus struct {
	Job string `json:"job"`
	// Schedule is as the config has it; empty for none.
	Schedule string `json:"schedule"`
	// Source is what it mirrors; empty where that is not said.
	Source string   `json:"source,omitempty"`
	State  Activity `json:"state"`
	// Due is when it runs next, absent for never and while it runs; Trigger is why it will, or why it runs.
	Due     time.Time `json:"due,omitzero"`
	Trigger Trigger   `json:"trigger"`
	// Started is when the run under way began.
	Started time.Time `json:"started,omitzero"`
	// Last is the run that ended last.
	Last        *Run      `json:"last_run,omitempty"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	// SuccessAge is absent where there was no success.
	SuccessAge *float64 `json:"success_age_seconds,omitempty"`
	// Deadline is by when a success is due: the first time that the job was due after the last one; zero for none. ExpectedBy leaves a run time
	// beyond it, and Overdue says that it has passed.
	Deadline   time.Time `json:"-"`
	ExpectedBy time.Time `json:"expected_by,omitzero"`
	Overdue    bool      `json:"overdue"`
	// Failures counts the runs with failures since the last success.
	Failures      int       `json:"failures"`
	DeferredUntil time.Time `json:"deferred_until,omitzero"`
	// Progress is that of the run under way.
	Progress *Progress `json:"progress,omitempty"`
}

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

// Compare orders jobs for people: those that need a look first, then those that run, then by when they are due.
func (j *JobStatus) Compare(other *JobStatus) int {
	return cmp.Or(cmp.Compare(j.urgency(), other.urgency()), compareDue(j.Due, other.Due), cmp.Compare(j.Job, other.Job))
}

func (j *JobStatus) urgency() int {
	switch {
	case j.Failures > 0:
		return 0
	case j.Overdue:
		return 1
	case j.State == JobRunning:
		return 2
	}
	return 3
}

// compareDue has what is never due last.
func compareDue(a, b time.Time) int {
	if a.IsZero() || b.IsZero() {
		return b.Compare(a)
	}
	return a.Compare(b)
}
