// Package record says what is known of a job and its last run. The daemon, its store, the status page, the API, metrics and the
// command line use the same values, so that all say the same.
package record

import (
	"strings"
	"time"
)

// Result is how a run ended.
type Result string

// The results of a run.
const (
	OK Result = "ok"
	// Failed: nothing was done, or all that was to do failed.
	Failed Result = "failed"
	// Partly: some of it failed.
	Partly Result = "partly"
	// Postponed: nothing failed, and a registry's budget put some of it off.
	Postponed Result = "deferred"
	// CutOff: the process ended before the run did. The job is due again.
	CutOff Result = "cut-off"
)

// Run is how a run ended.
type Run struct {
	Started time.Time `json:"started,omitzero"`
	// Ended is when the run ended; when it started, for one that a killed process left, as nothing more is known.
	Ended   time.Time `json:"ended,omitzero"`
	Outcome Result    `json:"outcome"`
	// Trigger is why it ran: "first", "schedule", "retry" or "manual".
	Trigger string `json:"trigger,omitempty"`
	// Error is why the run failed, or the first thing of it that did; empty where nothing did.
	Error  string `json:"error"`
	Counts Counts `json:"counts"`
}

// Counts is how many of a run's actions ended in which way, and what it took.
type Counts struct {
	Keep     int   `json:"keep"`
	Import   int   `json:"import"`
	Refuse   int   `json:"refuse"`
	Failed   int   `json:"failed"`
	Deferred int   `json:"deferred"`
	Pulls    int   `json:"pulls"`
	Bytes    int64 `json:"bytes"`
	Mounted  int64 `json:"bytes_mounted"`
}

// Result is how a run ended that was neither cut off nor failed as a whole.
func (c Counts) Result() Result {
	switch {
	case c.Failed > 0 && c.Keep+c.Import == 0:
		return Failed
	case c.Failed > 0:
		return Partly
	case c.Deferred > 0:
		return Postponed
	}
	return OK
}

// maxText bounds a text, in bytes.
const maxText = 4096

// Text shortens a text to what is kept of it, 4 KiB, and leaves no half of a character.
func Text(text string) string {
	if len(text) > maxText {
		text = text[:maxText-len("…")] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
