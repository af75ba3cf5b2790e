package record

import "time"

// MaxLooks is how many tags State.Looks and State.Again have together; of more a job looks at all.
const MaxLooks = 1000

// State is what is saved about a job. Its times are exact to a millisecond, so that a restart changes none.
type State struct {
	// Fingerprint is the job's at its last run.
	Fingerprint string
	// Anchor is the start of an "@every" schedule: when the job, or its schedule, first appeared.
	Anchor time.Time
	// Started is when the last run began that was not cut off, Ended when the last run ended; zero if there was none.
	Started, Ended time.Time
	// Succeeded is when the last run without failures ended; zero if there was none.
	Succeeded time.Time
	// Failures counts the runs with failures since then.
	Failures int
	// Last is the last run for all tags that ended; nil for none. The store reads it from the history, and does not write it.
	Last *Run
	// Deferred is until when deferred actions wait for a registry's budget; zero for none. Given is when a run last imported any of them,
	// Vain how many runs in a row have deferred some and imported none.
	Deferred, Given time.Time
	Vain            int
	// Due is when the job runs next, zero for never and during a run, Trigger why; Planned is the fingerprint for which both hold.
	Due     time.Time
	Trigger Trigger
	Planned string
	// Asked is set if someone has requested a run that has not begun.
	Asked bool
	// Anyway is set if, since the last pause began, someone has requested a run that has not begun: it begins during the pause too. The store
	// of a process that is alone has no place for it.
	Anyway bool
	// Looks are tags that events have named and that no run has looked at since, as references to the source, sorted, and LookAt is when a
	// run for them begins. Again are those that such a run has left undone, AgainAt is when the next try begins, and Tried how many tries in
	// a row have left some undone. The store of a process that is alone has no place for these: it has Deferred instead, so that a run for
	// all tags begins.
	Looks   []string
	LookAt  time.Time
	Again   []string
	AgainAt time.Time
	Tried   int
	// Begun is when the current run began, zero for none, BegunBy why.
	Begun   time.Time
	BegunBy Trigger
}
