package record

import "time"

// JobConfig is what the running config says about a job.
type JobConfig struct {
	// Position is where the mapping is, as file:line:col, and YAML the mapping itself, without comments. Values from ${env:} and ${file:} are
	// not put in.
	Position, YAML string
	// Windows are those in which its runs may begin, as text; empty for always.
	Windows string
	// Next are the next times of its schedule, within the windows; none where it has no schedule.
	Next []time.Time
}

// Tags are some of the tags of a job's targets, as far as dray knows them without asking.
type Tags struct {
	// Whole is how many of the known tags were meant, and List are some of these.
	Whole int
	List  []Tag
	// More is set if there may be others, which dray does not remember.
	More bool
}

// Tag is what is known of a tag at a target.
type Tag struct {
	// Target is the tag with its repository, and Digest what it held; empty if only its presence was asked for.
	Target, Digest string
	// Imported is when dray imported that digest, zero if it did not or does not remember; Looked is when a run last saw the tag.
	Imported, Looked time.Time
}

// PlanState is how far a plan is.
type PlanState string

// The states of a plan.
const (
	PlanUnderWay PlanState = "under-way"
	PlanMade     PlanState = "made"
	PlanFailed   PlanState = "failed"
	PlanApproved PlanState = "approved"
)

// PlanStatus is a plan of one job: what a sync would do. It makes nothing. Once someone approves it, exactly its imports are made.
type PlanStatus struct {
	ID  string `json:"id"`
	Job string `json:"job"`
	// State is made once the plan is there, and approved once its imports were asked for.
	State PlanState `json:"state"`
	// Asked is when By asked for it, Ended when it was made or has failed, Expires when it is forgotten at the latest.
	Asked   time.Time `json:"asked"`
	By      string    `json:"by,omitempty"`
	Ended   time.Time `json:"ended,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	// Approved is when ApprovedBy had its imports made.
	Approved   time.Time `json:"approved,omitzero"`
	ApprovedBy string    `json:"approved_by,omitempty"`
	// Error is why it failed, or what it could not see.
	Error string `json:"error"`
	// Progress is that of a plan under way: its imports are those whose cost is being found out.
	Progress *Progress `json:"progress,omitempty"`
	Counts   Counts    `json:"counts"`
	// Imports is how many imports an approval makes.
	Imports int `json:"imports"`
	// Actions are some of those that are planned, without what is kept; Whole is how many there are.
	Actions []Action `json:"actions"`
	Whole   int      `json:"actions_in_all"`
}

// LogLine is a line of the log.
type LogLine struct {
	At time.Time
	// Text is the rest of the line, without the job.
	Text string
}

// ConfigFiles is where the running config comes from, and what changed it.
type ConfigFiles struct {
	// Path is the config file, and Files are all files that dray follows for it.
	Path  string
	Files []string
	// Added, Changed and Removed are the names of jobs that differ from the config before, by the last reload that changed any, at ChangedAt.
	Added, Changed, Removed []string
	ChangedAt               time.Time
}

// RegistryUse is how the requests of a process to one registry have fared, each attempt by itself.
type RegistryUse struct {
	Registry string
	// Requests counts those that were sent, and Errors those without an answer, or with one of 429 or 5xx.
	Requests, Errors int64
	// Accounts are as whom dray has signed in.
	Accounts []Account
	// InFlight counts those whose answer has not begun.
	InFlight int64
	// Failure is the last error, and FailedAt when it came; zero for none.
	Failure  string
	FailedAt time.Time
}

// Account is as whom dray has signed in to a registry.
type Account struct {
	// Part is the registry, or the part of it with a credential of its own, as host/path.
	Part string
	// Name is empty for anonymous.
	Name string
}
