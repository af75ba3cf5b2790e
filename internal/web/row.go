package web

import (
	"fmt"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// row is one job on the page.
type row struct {
	Job, Source, Schedule string
	// State is the job's, and Tone how to colour it: "bad", "busy", "wait", "good" or nothing.
	State, Tone string
	// Why is what started, or will start, the run.
	Why string
	// Last is how the last run ended, LastTone its colour, and Details what it did.
	Last, LastTone, Details string
	Ended                   moment
	Error                   string
	Failures                string
	Success                 moment
	Overdue                 bool
	Next                    moment
	// Waits says what it waits for where that is not the time.
	Waits    string
	Started  moment
	Progress *progressView
}

// progressView is how a run gets on.
type progressView struct {
	Text    string
	Done    int
	Whole   int
	Imports []importView
}

// importView is one import under way. Whole is 0 where there is nothing to draw.
type importView struct {
	Source, Target, Text string
	Done, Whole          int64
}

func rowOf(j *record.JobStatus, now time.Time) row {
	r := row{
		Job: clean(j.Job), Source: clean(j.Source), Schedule: clean(j.Schedule), State: string(j.State), Tone: tone(j), Why: reason(j.Trigger),
		Success: since(j.LastSuccess, now), Overdue: j.Overdue, Next: till(j.Due, now), Started: since(j.Started, now),
	}
	if j.Failures > 1 {
		r.Failures = number(int64(j.Failures), "time") + " in a row"
	}
	switch {
	case j.State == record.JobWaiting:
		r.Waits = "due, and waits for a free slot"
	case !j.DeferredUntil.IsZero():
		r.Waits = "waits for a registry's budget until " + j.DeferredUntil.UTC().Format("2006-01-02 15:04:05 MST")
	}
	if last := j.Last; last != nil {
		r.Last, r.LastTone, r.Details, r.Error = string(last.Outcome), resultTone(last.Outcome), wordsOf(last.Counts), clean(last.Error)
		r.Ended = since(last.Ended, now)
	}
	if j.Progress != nil {
		r.Progress = progressOf(j.Progress)
	}
	return r
}

func tone(j *record.JobStatus) string {
	switch j.State {
	case record.JobRunning:
		return "busy"
	case record.JobWaiting, record.JobDeferred:
		return "wait"
	case record.JobScheduled, record.JobIdle:
	}
	return ""
}

func resultTone(r record.Result) string {
	switch r {
	case record.RunOK:
		return "good"
	case record.RunDeferred, record.RunCutOff:
		return "wait"
	case record.RunFailed, record.RunPartly:
	}
	return "bad"
}

// reason says a trigger in words.
func reason(trigger record.Trigger) string {
	switch trigger {
	case record.First:
		return "new or changed"
	case record.Retried:
		return "tried again"
	case record.Asked:
		return "asked for"
	case record.Event:
		return "an event"
	case record.Scheduled:
	}
	return ""
}

// wordsOf says what a run did; empty where it had nothing to do.
func wordsOf(c record.Counts) string {
	var parts []string
	for _, p := range c.Parts() {
		if p.Count > 0 {
			parts = append(parts, grouped(int64(p.Count))+" "+p.Word)
		}
	}
	if c.Bytes > 0 {
		parts = append(parts, size(c.Bytes)+" moved")
	}
	return strings.Join(parts, ", ")
}

// maxImports is how many imports under way are shown of one job.
const maxImports = 12

func progressOf(p *record.Progress) *progressView {
	v := &progressView{Done: p.Completed, Whole: p.Imports}
	switch {
	case p.Imports > 0:
		v.Text = fmt.Sprintf("%d of %s", p.Completed, number(int64(p.Imports), "import"))
	case p.Tags > 0:
		v.Text, v.Done, v.Whole = fmt.Sprintf("looked at %d of %s", p.Observed, number(int64(p.Tags), "tag")), p.Observed, p.Tags
	default:
		v.Text = "looking for tags"
	}
	for _, i := range p.UnderWay[:min(len(p.UnderWay), maxImports)] {
		line := importView{Source: clean(i.Source), Target: clean(i.Target), Text: "begins"}
		if i.Total > 0 {
			line.Done, line.Whole = min(i.Bytes, i.Total), i.Total
			line.Text = size(i.Bytes) + " of " + size(i.Total)
		}
		v.Imports = append(v.Imports, line)
	}
	return v
}
