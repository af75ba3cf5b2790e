package record

import "time"

// Status is how an action ended.
type Status string

// The statuses. A plan's actions have none.
const (
	Kept     Status = "kept"
	Imported Status = "imported"
	Refused  Status = "refused"
	Failed   Status = "failed"
	// Deferred: a registry's budget does not allow it now.
	Deferred Status = "deferred"
	// NothingChosen: a filter chose no tag of a source, where it should have; it counts as failed.
	NothingChosen Status = "nothing-chosen"
	// Absent: the source has no such tag or repository; it counts as failed.
	Absent Status = "absent"
)

// Statuses returns all of them.
func Statuses() []Status {
	return []Status{Kept, Imported, Refused, Failed, NothingChosen, Absent, Deferred}
}

// Failure tells whether the status counts as failed.
func (s Status) Failure() bool { return s == Failed || s == NothingChosen || s == Absent }

// Action is what a run did with one tag, or what a plan is to do. Its JSON is the same in the documents of plan and sync, in the history, and
// in notifications: a change that breaks a program that reads it raises the version of all of them.
type Action struct {
	Op     string `json:"op"`
	Reason string `json:"reason"`
	// Source and Target are canonical. They have a digest only where they have no tag.
	Source string `json:"source"`
	Target string `json:"target"`
	Digest string `json:"digest"`
	// Was is the target's digest before; empty where it had none.
	Was string `json:"was"`
	// Engine is empty where nothing was to import.
	Engine string `json:"engine"`
	// Outcome is absent in a plan.
	Outcome Status `json:"outcome,omitempty"`
	// Unverified is set where the target could not be looked at.
	Unverified bool  `json:"unverified,omitempty"`
	Pulls      int   `json:"pulls"`
	Bytes      int64 `json:"bytes"`
	// Mounted is the number of bytes that the target took from another of its own repositories.
	Mounted  int64   `json:"bytes_mounted"`
	Duration Seconds `json:"duration_seconds"`
	// RetryAt is in UTC, in whole seconds and never too early; nil except for a deferred action.
	RetryAt *time.Time `json:"retry_at"`
	// Error is why the action failed, was deferred or was refused.
	Error string `json:"error"`
	// Code is a short stable word for the error, where it has one.
	Code string `json:"code"`
}

// Texts are the fields that have no bound of their own.
func (a *Action) Texts() []*string {
	return []*string{&a.Op, &a.Reason, &a.Source, &a.Target, &a.Digest, &a.Was, &a.Engine, &a.Error, &a.Code}
}

// WithTexts returns the action with f applied to each of its texts.
func (a Action) WithTexts(f func(string) string) Action {
	for _, text := range a.Texts() {
		*text = f(*text)
	}
	return a
}
