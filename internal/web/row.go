package web

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// row is one job on the page.
type row struct {
	// ID is that of its element.
	ID, Job, Link   string
	Source, Targets string
	Schedule        string
	// State is the job's, and Tone how to colour it: "bad", "busy", "wait", "good" or nothing.
	State, Tone string
	// Why is what started, or will start, the run, and Replica where it runs.
	Why, Replica string
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
	// May is set where whoever looks may have it run.
	May bool
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
	ID, Job, Link, Source, Target string
	Size, Rate                    string
	Done, Whole                   int64
	Started                       moment
}

// longestError is how much of an error a row shows, in characters; the job's page has all of it.
const longestError = 300

// idOf returns the id of the element for something with a name.
func idOf(kind, name string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash takes everything
	return fmt.Sprintf("%s-%x", kind, h.Sum64())
}

func rowOf(j *record.JobStatus, now time.Time) row {
	r := row{
		ID: idOf("job", j.Job), Job: clean(j.Job), Link: pageOfJob(j.Job), Source: clean(j.Source), Targets: clean(strings.Join(j.Targets, ", ")),
		Schedule: clean(j.Schedule), State: string(j.State), Tone: tone(j), Why: reason(j.Trigger), Replica: clean(j.Replica),
		Success: since(j.LastSuccess, now), Overdue: j.Overdue, Next: till(j.Due, now), Started: since(j.Started, now),
	}
	if j.Failures > 1 {
		r.Failures = number(int64(j.Failures), "time") + " in a row"
	}
	switch {
	case j.Paused != nil:
		r.Waits = pauseText(j.Paused)
	case j.State == record.JobWaiting:
		r.Waits = "due, waits for a free slot"
	case !j.DeferredUntil.IsZero():
		r.Waits = "waits for a budget until " + clock(j.DeferredUntil, now)
		if j.OutsideWindows {
			r.Waits = "waits for its window until " + clock(j.DeferredUntil, now)
		}
	}
	if last := j.Last; last != nil {
		r.Last, r.LastTone, r.Details, r.Error = string(last.Outcome), resultTone(last.Outcome), wordsOf(last.Counts), shortened(clean(last.Error))
		r.Ended = since(last.Ended, now)
	}
	if j.Progress != nil {
		r.Progress = progressOf(j, now)
	}
	return r
}

// pauseText says since when something is paused, by whom and why.
func pauseText(p *record.Pause) string {
	text := "paused since " + p.Since.UTC().Format(timeFormat)
	if p.All {
		text = "all are " + text
	}
	if p.By != "" {
		text += " by " + clean(p.By)
	}
	if p.Reason != "" {
		text += ": " + clean(p.Reason)
	}
	return text
}

// clock leaves out the date of what is near.
func clock(t, now time.Time) string {
	if t.Sub(now) < 12*time.Hour {
		return record.WholeSecond(t).Format("15:04:05 MST")
	}
	return record.WholeSecond(t).Format(timeFormat)
}

func shortened(text string) string {
	if runes := []rune(text); len(runes) > longestError {
		return string(runes[:longestError]) + "…"
	}
	return text
}

func tone(j *record.JobStatus) string {
	switch j.State {
	case record.JobRunning:
		return "busy"
	case record.JobWaiting, record.JobDeferred, record.JobPaused:
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
	case record.Approved:
		return "an approved plan"
	case record.Scheduled:
	}
	return ""
}

// wordsOf says what a run did; empty where it had nothing to do.
func wordsOf(c record.Counts) string {
	var parts []string
	for _, p := range c.Parts() {
		if p.Count > 0 {
			parts = append(parts, thousands(int64(p.Count))+" "+p.Word)
		}
	}
	if c.Bytes > 0 {
		parts = append(parts, size(c.Bytes)+" moved")
	}
	return strings.Join(parts, ", ")
}

func progressOf(j *record.JobStatus, now time.Time) *progressView {
	p := j.Progress
	v := &progressView{Done: p.Completed, Whole: p.Imports}
	switch {
	case p.Imports > 0:
		v.Text = fmt.Sprintf("%d of %s", p.Completed, number(int64(p.Imports), "import"))
	case p.Tags > 0:
		v.Text, v.Done, v.Whole = fmt.Sprintf("looked at %d of %s", p.Observed, number(int64(p.Tags), "tag")), p.Observed, p.Tags
	default:
		v.Text = "looking for tags"
	}
	for i := range p.UnderWay[:min(len(p.UnderWay), maxImports)] {
		v.Imports = append(v.Imports, importOf(j.Job, &p.UnderWay[i], now))
	}
	return v
}

func importOf(job string, i *record.Import, now time.Time) importView {
	v := importView{
		ID: idOf("import", job+" "+i.Target), Job: clean(job), Link: pageOfJob(job), Source: clean(i.Source), Target: clean(i.Target),
		Size: "begins", Started: since(i.Started, now),
	}
	if i.Total > 0 {
		v.Done, v.Whole = max(0, min(i.Bytes, i.Total)), i.Total
		v.Size = size(v.Done) + " of " + size(i.Total)
	}
	if i.Rate > 0 {
		v.Rate = size(i.Rate) + "/s"
	}
	return v
}
