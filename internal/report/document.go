package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// Document is the JSON answer of plan and sync. Names, order and presence of its fields are a contract with the programs
// that read it: a change that breaks one raises Version.
type Document struct {
	Version int    `json:"version"`
	Command string `json:"command"`
	// Started is in UTC, in whole seconds.
	Started time.Time `json:"started"`
	Seconds float64   `json:"duration_seconds"`
	Totals  Totals    `json:"totals"`
	// Causes are why jobs and actions have failed, each once, the most frequent first.
	Causes []record.Cause `json:"causes"`
	Jobs   []Job          `json:"jobs"`
}

// Job is the result of one job in a [Document].
type Job struct {
	Job string `json:"job"`
	// Error is why the job as a whole failed; Actions is empty then.
	Error   string   `json:"error"`
	Actions []Action `json:"actions"`
}

// Action is one action in a [Document].
type Action struct {
	Op     diff.Op     `json:"op"`
	Reason diff.Reason `json:"reason"`
	// Source and Target are canonical. They have a digest only where they have no tag.
	Source string `json:"source"`
	Target string `json:"target"`
	Digest string `json:"digest"`
	Was    string `json:"was"`
	// Engine is empty where nothing was to import.
	Engine string `json:"engine"`
	// Outcome is absent in a plan.
	Outcome mirror.Status `json:"outcome,omitempty"`
	// Unverified is set where the target could not be looked at.
	Unverified bool    `json:"unverified,omitempty"`
	Pulls      int     `json:"pulls"`
	Bytes      int64   `json:"bytes"`
	Mounted    int64   `json:"bytes_mounted"`
	Seconds    float64 `json:"duration_seconds"`
	// RetryAt is in UTC, in whole seconds and never too early; null except for a deferred action.
	RetryAt *time.Time `json:"retry_at"`
	// Error is one line: why the action failed, was deferred or was refused.
	Error string `json:"error"`
	// Code is a short stable word for the error, where it has one.
	Code string `json:"code"`
}

const (
	documentVersion = 1
	commandPlan     = "plan"
	maxCode         = 64
)

// JSON writes results as one [Document], indented and with a newline at its end. The jobs are in the order of results.
func JSON(w io.Writer, command string, started time.Time, took time.Duration, results []mirror.Result) error {
	doc := Document{
		Version: documentVersion,
		Command: command,
		Started: started.UTC().Truncate(time.Second),
		Seconds: seconds(took),
		Totals:  tally(results),
		Causes:  causes(results, false),
		Jobs:    make([]Job, 0, len(results)),
	}
	for _, r := range results {
		job := Job{Job: r.Job, Error: errorLine(r.Err), Actions: make([]Action, 0, len(r.Outcomes))}
		for _, out := range r.Outcomes {
			a := action(out)
			if command == commandPlan {
				a.Outcome = ""
			}
			job.Actions = append(job.Actions, a)
		}
		doc.Jobs = append(doc.Jobs, job)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func action(out mirror.Outcome) Action {
	a := Action{
		Op:      out.Op,
		Reason:  out.Reason,
		Source:  name(out.Source),
		Target:  name(out.Target),
		Digest:  string(out.Digest),
		Was:     string(out.Was),
		Engine:  out.Engine,
		Outcome: out.Status, Unverified: out.Unverified,
		Pulls:   out.Pulls,
		Bytes:   out.Bytes,
		Mounted: out.Mounted,
		Seconds: seconds(out.Duration),
		Error:   errorLine(out.Err),
		Code:    bounded(record.Code(out.Err), maxCode),
	}
	if out.Err == nil {
		a.Error = Line(out.Detail)
	}
	if !out.RetryAt.IsZero() {
		at := wholeSecond(out.RetryAt)
		a.RetryAt = &at
	}
	return a
}

// name is the reference without the digest that pins it, where a tag names it.
func name(ref image.Reference) string {
	if ref.IsZero() {
		return ""
	}
	if ref.Tag != "" {
		ref = ref.WithDigest("")
	}
	return Line(ref.String())
}

// seconds rounds to milliseconds.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }

// wholeSecond rounds up: who tries again at the time that is told must not be too early.
func wholeSecond(t time.Time) time.Time {
	whole := t.UTC().Truncate(time.Second)
	if whole.Before(t) {
		whole = whole.Add(time.Second)
	}
	return whole
}
