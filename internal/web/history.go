package web

import "time"

// History is the document of GET /api/v1/history: runs that have ended, the newest first.
type History struct {
	Version int   `json:"version"`
	Runs    []Run `json:"runs"`
}

// Run is one run that has ended.
type Run struct {
	Job string `json:"job"`
	// Trigger is why it ran: "first", "schedule", "retry" or "manual".
	Trigger string    `json:"trigger"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Seconds float64   `json:"duration_seconds"`
	Outcome Result    `json:"outcome"`
	Error   string    `json:"error"`
	Counts  Counts    `json:"counts"`
	// Repeats counts runs right before this one that did nothing either, for which it stands too; Since is when the first began.
	Repeats int       `json:"repeats,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Actions are those that were not kept as they are, as far as they are remembered; More counts the others of them.
	Actions []Action `json:"actions"`
	More    int      `json:"more_actions,omitempty"`
}

// Action is how one action of a run ended. Its keys are those of the document that sync writes.
type Action struct {
	Op      string `json:"op"`
	Reason  string `json:"reason"`
	Source  string `json:"source"`
	Target  string `json:"target"`
	Digest  string `json:"digest"`
	Was     string `json:"was"`
	Engine  string `json:"engine"`
	Outcome string `json:"outcome"`
	Pulls   int    `json:"pulls"`
	Bytes   int64  `json:"bytes"`
	Mounted int64  `json:"bytes_mounted"`
	// Unverified is set where the target could not be looked at.
	Unverified bool      `json:"unverified,omitempty"`
	Seconds    float64   `json:"duration_seconds"`
	RetryAt    time.Time `json:"retry_at,omitzero"`
	Error      string    `json:"error"`
	Code       string    `json:"code"`
}
