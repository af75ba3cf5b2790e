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
