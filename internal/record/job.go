package record

import "time"

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
	// Last is the run that ended last; nil for none. The store reads it from the history, and does not write it.
	Last *Run
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
