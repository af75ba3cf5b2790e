package webhook

import (
	"slices"
	"time"

	"github.com/draysync/dray/internal/record"
)

// Kind is what happened. It is the last part of the CloudEvent's type.
type Kind string

// The kinds that a hook can ask for.
const (
	Imported       Kind = "imported"
	Failed         Kind = "failed"
	Recovered      Kind = "recovered"
	ConfigRejected Kind = "config-rejected"
	ConfigAccepted Kind = "config-accepted"
)

// Missed tells a hook that events were dropped or given up. It comes by itself and cannot be asked for.
const Missed Kind = "missed"

// Kinds returns what a hook can ask for.
func Kinds() []Kind { return []Kind{Imported, Failed, Recovered, ConfigRejected, ConfigAccepted} }

// typePrefix stands before a kind in the CloudEvent's type.
const typePrefix = "io.github.draysync.dray."

// Event is something that happened. [Sender.Send] takes what it needs; the caller may use the value's slices again.
type Event struct {
	Kind Kind
	// Time is when it happened; zero means now.
	Time time.Time
	Data Data
}

// Data is the CloudEvent's data. What is empty or zero is left out, except for kind and summary and in actions. Text is one line of
// bounded length without control characters.
type Data struct {
	// Kind and Summary, a sentence for people, are filled in by [Sender.Send].
	Kind    Kind   `json:"kind"`
	Summary string `json:"summary"`
	// Job is the job's name; empty for events of the config.
	Job string `json:"job,omitempty"`
	// Started and Seconds are the run's.
	Started time.Time `json:"started,omitzero"`
	Seconds float64   `json:"duration_seconds,omitzero"`
	// Error is why the job as a whole failed.
	Error string `json:"error,omitempty"`
	// Failures counts the failed runs in a row, this one included; for recovered, those that came before.
	Failures int `json:"failures,omitzero"`
	// FailingSince is when the first of them started; zero if that is not known.
	FailingSince time.Time `json:"failing_since,omitzero"`
	// Counts are of all actions of the run, also of those that Actions leaves out.
	Counts Counts `json:"counts,omitzero"`
	// Causes are why actions have failed, each once, the most frequent first: at most 10.
	Causes []record.Cause `json:"causes,omitempty"`
	// Actions are at most 50: those that failed first, then refused, deferred and imported ones. What was kept is not among
	// them. A caller hands over all that it has; ActionsOmitted is filled in.
	Actions        []record.Action `json:"actions,omitempty"`
	ActionsOmitted int             `json:"actions_omitted,omitzero"`
	// Errors are what is wrong with the rejected config, each with its position: at most 50, the rest is ErrorsOmitted.
	Errors        []string `json:"errors,omitempty"`
	ErrorsOmitted int      `json:"errors_omitted,omitzero"`
	// Generation is the one that runs, for events of the config.
	Generation int `json:"generation,omitzero"`
	// Missed counts by kind, for the event missed, what did not arrive since MissedSince. Filled in by the package.
	Missed      map[string]int `json:"missed,omitempty"`
	MissedSince time.Time      `json:"missed_since,omitzero"`
}

// Counts are the numbers of a run's actions by outcome, under the names that hooks have always had.
type Counts struct {
	Kept     int `json:"kept"`
	Imported int `json:"imported"`
	Refused  int `json:"refused"`
	Failed   int `json:"failed"`
	Deferred int `json:"deferred"`
}

// CountsOf are the counts of a run.
func CountsOf(c record.Counts) Counts {
	return Counts{Kept: c.Keep, Imported: c.Import, Refused: c.Refuse, Failed: c.Failed, Deferred: c.Deferred}
}

const (
	maxActions = 50
	maxErrors  = 50
	maxCauses  = 10
	maxText    = 500
)

// normal returns d as it is sent: bounded, in order, its text clean, and sharing no memory with d.
func normal(kind Kind, d Data) Data {
	d.Kind = kind
	d.Job = clean(d.Job, maxText)
	d.Error = clean(d.Error, maxText)
	d.Started, d.FailingSince, d.MissedSince = d.Started.UTC(), d.FailingSince.UTC(), d.MissedSince.UTC()
	d.Causes = firstCauses(d.Causes)
	d.Actions, d.ActionsOmitted = firstActions(d.Actions)
	d.ErrorsOmitted = max(0, len(d.Errors)-maxErrors)
	d.Errors = slices.Clone(d.Errors[:min(len(d.Errors), maxErrors)])
	for i, text := range d.Errors {
		d.Errors[i] = clean(text, maxText)
	}
	d.Summary = summary(d)
	return d
}

func firstCauses(all []record.Cause) (first []record.Cause) {
	for _, c := range all[:min(len(all), maxCauses)] {
		c.Error, c.Code, c.Job, c.References = clean(c.Error, maxText), clean(c.Code, maxText), clean(c.Job, maxText), slices.Clone(c.References)
		for i, ref := range c.References {
			c.References[i] = clean(ref, maxText)
		}
		first = append(first, c)
	}
	return first
}

// firstActions chooses the actions that are sent, and says how many of those worth sending are not.
func firstActions(all []record.Action) (first []record.Action, omitted int) {
	chosen := func(worth func(record.Status) bool) {
		for _, a := range all {
			switch {
			case !worth(a.Outcome):
			case len(first) == maxActions:
				omitted++
			default:
				first = append(first, a.WithTexts(func(text string) string { return clean(text, maxText) }))
			}
		}
	}
	chosen(record.Status.Failure)
	for _, s := range []record.Status{record.Refused, record.Deferred, record.Imported} {
		chosen(func(status record.Status) bool { return status == s })
	}
	return first, omitted
}
