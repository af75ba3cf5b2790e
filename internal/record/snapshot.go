package record

import (
	"cmp"
	"time"
)

// Snapshot is the daemon's state: the document of GET /api/v1/status. In JSON, times are in UTC and in whole seconds, and absent if zero.
// The HTTP server fills Version, Totals, and the jobs' SuccessAge, ExpectedBy and Overdue.
type Snapshot struct {
	Version int `json:"version"`
	// Dray is the version of the program.
	Dray    string    `json:"dray"`
	Started time.Time `json:"started,omitzero"`
	Now     time.Time `json:"now"`
	// Stopping is set once nothing new begins.
	Stopping bool `json:"stopping"`
	// Paused is the pause of all jobs, nil for none.
	Paused *Pause `json:"paused,omitempty"`
	Config Config `json:"config"`
	Totals Totals `json:"totals"`
	// Budgets are the known pull limits of registries.
	Budgets []Budget `json:"budgets,omitempty"`
	// Closed are the target registries known to refuse reads; Azure imports into them.
	Closed []ClosedRegistry `json:"closed_registries,omitempty"`
	// Receivers take events of registries.
	Receivers []Receiver `json:"receivers,omitempty"`
	// Replicas are the processes that work on the jobs, and Ledger is the database that they share; both are absent where there is only this one.
	Replicas []Replica `json:"replicas,omitempty"`
	Ledger   *Ledger   `json:"ledger,omitempty"`
	// Jobs are sorted by name. They come last, so that the rest can be read without them.
	Jobs []JobStatus `json:"jobs"`
	// Moved is the time of the last progress of a current run, or of the end of a run; zero if none runs.
	Moved time.Time `json:"-"`
}

// Config is the running config, and why the present file is not it.
type Config struct {
	// Generation counts the configs that this process has loaded; Loaded is when it loaded the last one.
	Generation int       `json:"generation"`
	Loaded     time.Time `json:"loaded,omitzero"`
	// Rejected has a line for each mistake of the present file; empty if that config runs.
	Rejected   []string  `json:"rejected"`
	RejectedAt time.Time `json:"rejected_at,omitzero"`
	// Partly says that only some files of the config are rejected: they stay as they were, and the rest runs.
	Partly bool `json:"partly,omitempty"`
	// Hash tells the jobs of this process from those of other configs, and InForce is the hash of the jobs that decide; both are absent where there
	// is only one process.
	Hash    string `json:"hash,omitempty"`
	InForce string `json:"in_force,omitempty"`
}

// HashShown is how many digits of a hash tell it from others.
const HashShown = 12

// Decides reports whether the jobs of this process are those in force.
func (c *Config) Decides() bool { return c.Hash == c.InForce }

// Totals counts jobs. A job may count more than once.
type Totals struct {
	Jobs    int `json:"jobs"`
	Running int `json:"running"`
	// Parallel is how many may run at once.
	Parallel int `json:"parallel"`
	Waiting  int `json:"waiting"`
	Deferred int `json:"deferred"`
	// Paused counts jobs that are paused, each by itself or with all.
	Paused int `json:"paused"`
	// Failing jobs have failed since their last success; Overdue ones have had no success for longer than their schedule allows.
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
	case JobScheduled, JobIdle, JobPaused:
	}
	if j.Paused != nil {
		t.Paused++
	}
	if j.Failures > 0 {
		t.Failing++
	}
	if j.Overdue {
		t.Overdue++
	}
}

// ClosedRegistry is a target registry whose data plane refuses this machine or this identity, or that dray must not read.
type ClosedRegistry struct {
	Registry string `json:"registry"`
	// Repositories is how many of its repositories dray cannot read, Reason why not the first of them.
	Repositories int    `json:"repositories"`
	Reason       string `json:"reason"`
}

// Receiver takes events of one sender.
type Receiver struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Path is where the sender has to POST to. If it proves the sender (Keyed), its last part is shown only to those who may change
	// something.
	Path  string `json:"path"`
	Keyed bool   `json:"-"`
	// Events counts events of this process by what became of them; LastEvent is when the last one came.
	Events    map[string]int64 `json:"events"`
	LastEvent time.Time        `json:"last_event,omitzero"`
}

// Activity is what a job is doing.
type Activity string

// The activities of a job.
const (
	JobRunning Activity = "running"
	// JobWaiting: it is due, and no slot is free.
	JobWaiting   Activity = "waiting"
	JobScheduled Activity = "scheduled"
	// JobDeferred: a registry's budget or the job's windows do not allow it before DeferredUntil.
	JobDeferred Activity = "deferred"
	// JobIdle: it runs only on a change or on request.
	JobIdle Activity = "idle"
	// JobPaused: it runs only on request until it is resumed.
	JobPaused Activity = "paused"
)

// JobStatus is the state of one job.
type JobStatus struct {
	Job string `json:"job"`
	// Schedule is the config's text; empty for none.
	Schedule string `json:"schedule"`
	// Source is the job's source; empty if that is not shown.
	Source string `json:"source,omitempty"`
	// Accounts are those by whose credentials it reads its sources, as budgets name them: registries, or parts of them.
	Accounts []string `json:"-"`
	// Targets are the job's targets, in the order of the config; absent if those are not known.
	Targets []string `json:"targets,omitempty"`
	State   Activity `json:"state"`
	// Paused is the pause that holds for it, its own before that of all; nil for none. A run that was under way goes on.
	Paused *Pause `json:"paused,omitempty"`
	// Due is when it runs next, absent for never and during a run; Trigger is why it will run, or runs.
	Due     time.Time `json:"due,omitzero"`
	Trigger Trigger   `json:"trigger"`
	// Started is when the current run began.
	Started time.Time `json:"started,omitzero"`
	// Last is the last run that ended.
	Last        *Run      `json:"last_run,omitempty"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	// SuccessAge is absent if there was no success.
	SuccessAge *float64 `json:"success_age_seconds,omitempty"`
	// Deadline is when the next success is due: the first time after the last success that the job was due; zero for none. ExpectedBy adds
	// the length of a run, and Overdue says that it has passed.
	Deadline   time.Time `json:"-"`
	ExpectedBy time.Time `json:"expected_by,omitzero"`
	Overdue    bool      `json:"overdue"`
	// Failures counts the runs with failures since the last success.
	Failures      int       `json:"failures"`
	DeferredUntil time.Time `json:"deferred_until,omitzero"`
	// OutsideWindows says that the job waits for one of its windows, which opens then.
	OutsideWindows bool `json:"outside_windows,omitempty"`
	// Progress is the current run's progress.
	Progress *Progress `json:"progress,omitempty"`
	// Anchor is that of an "@every" schedule.
	Anchor time.Time `json:"-"`
	// Replica is the name of the process that runs it, empty where there is only one.
	Replica string `json:"replica,omitempty"`
}

// Progress is the progress of a run.
type Progress struct {
	// Tags counts tags to observe, Observed those done; Imports counts imports to make, Completed those done.
	Tags      int `json:"tags"`
	Observed  int `json:"observed"`
	Imports   int `json:"imports"`
	Completed int `json:"completed"`
	// UnderWay are the current imports, the oldest first.
	UnderWay []Import `json:"under_way"`
}

// Import is a current import.
type Import struct {
	Source  string    `json:"source"`
	Target  string    `json:"target"`
	Started time.Time `json:"started,omitzero"`
	// Bytes counts bytes that were copied or need not be, of Total; Total is 0 while unknown.
	Bytes int64 `json:"bytes"`
	Total int64 `json:"total"`
	// Rate is how many bytes a second came of late, in a mean that does not jump.
	Rate int64 `json:"bytes_per_second"`
}

// Compare orders jobs for display: first those that need attention, then running ones, then by due time.
func (j *JobStatus) Compare(other *JobStatus) int {
	return cmp.Or(cmp.Compare(j.urgency(), other.urgency()), CompareDue(j.Due, other.Due), cmp.Compare(j.Job, other.Job))
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

// CompareDue sorts jobs that are never due last.
func CompareDue(a, b time.Time) int {
	if a.IsZero() || b.IsZero() {
		return b.Compare(a)
	}
	return a.Compare(b)
}
