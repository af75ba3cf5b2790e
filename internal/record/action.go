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
	// NothingChosen: a filter selects no tag of a source, although it should; it counts as failed.
	NothingChosen Status = "nothing-chosen"
	// Absent: the source has no such tag or repository; it counts as failed.
	Absent Status = "absent"
)

// Statuses returns all statuses.
func Statuses() []Status {
	return []Status{Kept, Imported, Refused, Failed, NothingChosen, Absent, Deferred}
}

// Failure reports whether the status counts as failed.
func (s Status) Failure() bool { return s == Failed || s == NothingChosen || s == Absent }

// Action is what a run did with one tag, or what a plan would do. Its JSON is the same in the documents of plan and sync, in the history,
// and in notifications: a breaking change raises the version of all of them.
type Action struct {
	Op     string `json:"op"`
	Reason string `json:"reason"`
	// Source and Target are canonical. They have a digest only if they have no tag.
	Source string `json:"source"`
	Target string `json:"target"`
	Digest string `json:"digest"`
	// Was is the target's previous digest; empty if it had none.
	Was string `json:"was"`
	// Engine is empty if nothing was to be imported.
	Engine string `json:"engine"`
	// Outcome is absent in a plan.
	Outcome Status `json:"outcome,omitempty"`
	// Unverified is set if dray could not read the target.
	Unverified bool  `json:"unverified,omitempty"`
	Pulls      int   `json:"pulls"`
	Bytes      int64 `json:"bytes"`
	// Mounted is the number of bytes that the target mounted from its own repositories.
	Mounted  int64   `json:"bytes_mounted"`
	Duration Seconds `json:"duration_seconds"`
	// RetryAt is in UTC, in whole seconds and never too early; nil unless the action is deferred.
	RetryAt *time.Time `json:"retry_at"`
	// Error is why the action failed, was deferred or was refused.
	Error string `json:"error"`
	// Code is a short stable word for the error, if it has one.
	Code string `json:"code"`
}

// Texts returns pointers to the fields of unlimited length.
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
