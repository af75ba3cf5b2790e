package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

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
	Started time.Time     `json:"started"`
	Seconds float64       `json:"duration_seconds"`
	Totals  record.Counts `json:"totals"`
	// Causes are why jobs and actions have failed, each once, the most frequent first.
	Causes []record.Cause `json:"causes"`
	Jobs   []Job          `json:"jobs"`
}

// Job is the result of one job in a [Document].
type Job struct {
	Job string `json:"job"`
	// Error is why the job as a whole failed; Actions are those until then, if any.
	Error   string          `json:"error"`
	Actions []record.Action `json:"actions"`
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
		job := Job{Job: r.Job, Error: errorLine(r.Err), Actions: make([]record.Action, 0, len(r.Outcomes))}
		for _, out := range r.Outcomes {
			a := out.Record().WithTexts(Line)
			a.Code = bounded(a.Code, maxCode)
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
