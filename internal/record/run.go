// Package record says what is known of a job and its last run. The daemon, its store, the status page, the API, metrics and the
// command line use the same values, so that all say the same.
package record

import (
	"errors"
	"fmt"
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
	// Unverified are those of all whose target could not be looked at.
	Unverified int `json:"unverified,omitempty"`
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

// Cause is why something failed, once for all that failed by it.
type Cause struct {
	// Error is that of the one that failed; of several, what their errors have in common.
	Error string `json:"error"`
	// Code is a short stable word for it; it may be empty.
	Code string `json:"code"`
	// Count is how many imports, or jobs, it made fail.
	Count int `json:"count"`
	// Job is the only job that it met; empty for several.
	Job string `json:"job"`
	// References are up to three of the images at the target, or of the jobs where whole jobs failed.
	References []string `json:"references"`
}

// String says it in one line.
func (c Cause) String() string {
	if c.Count == 1 {
		return c.Error
	}
	text := fmt.Sprintf("%s; %d times", c.Error, c.Count)
	switch last := len(c.References) - 1; {
	case last > 0:
		text += fmt.Sprintf(", such as for %s and %s", strings.Join(c.References[:last], ", "), c.References[last])
	case last == 0:
		text += ", such as for " + c.References[0]
	}
	return text
}

// Code returns the code of an error, a short stable word; empty where it has none.
func Code(err error) string {
	var e interface {
		error
		Code() string
	}
	if errors.As(err, &e) {
		return e.Code()
	}
	return ""
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
