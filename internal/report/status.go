package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Service is a daemon at one moment, for [Status].
type Service struct {
	// Version is the program's.
	Version string
	Started time.Time
	// Stopping is set once nothing new begins.
	Stopping bool
	// Generation is how many configs were taken over, and Loaded when the last one was.
	Generation int
	Loaded     time.Time
	// Rejected has a line for each mistake of a config that was not taken; empty for none. RejectedAt is when it was read.
	Rejected   []string
	RejectedAt time.Time
	// Parallel is how many jobs may run at once.
	Parallel int
	Jobs     []ServiceJob
	Budgets  []Budget
	Closed   []ClosedRegistry
}

// ServiceJob is one job of a [Service]. Times are zero where there is none.
type ServiceJob struct {
	Job string
	// State is "running", "waiting" (due, and no place is free), "scheduled", "deferred" or "idle".
	State string
	// Due is when it runs next, Started when the run under way began, and DeferredUntil until when a budget puts it off.
	Due, Started, DeferredUntil time.Time
	// Outcome is how the last run ended ("ok", "failed", "partly", "deferred", "cut-off"; empty for none), Ended when, and Error why.
	Outcome, Error string
	Ended          time.Time
	LastSuccess    time.Time
	// Overdue is set where the schedule lets one expect a later success. Failures counts the runs with failures since the last one.
	Overdue  bool
	Failures int
	// Unverified counts actions of the last run whose target could not be looked at.
	Unverified int
	// Tags are to be looked at, and Observed were; Imports are to be made, and Completed have ended.
	Tags, Observed, Imports, Completed int
	UnderWay                           []ServiceImport
}

// ClosedRegistry is a target registry that cannot be looked at, and why.
type ClosedRegistry struct {
	Registry, Reason string
	// Repositories is how many of its repositories that are.
	Repositories int
}

// ServiceImport is one import under way of a [ServiceJob].
type ServiceImport struct {
	Target string
	// Bytes have passed of Total, as far as that is known.
	Bytes, Total int64
}

const (
	stateRunning  = "running"
	stateWaiting  = "waiting"
	stateDeferred = "deferred"
)

// Status writes what a daemon does, waits for and last did: a rejected config first, then a line for each job, those that need a look
// first; then the errors, the imports under way, and the sums.
func Status(w io.Writer, s Service, now time.Time, style Style) error {
	jobs := slices.Clone(s.Jobs)
	slices.SortStableFunc(jobs, func(a, b ServiceJob) int {
		return cmp.Or(cmp.Compare(urgency(a), urgency(b)), compareDue(a.Due, b.Due), cmp.Compare(a.Job, b.Job))
	})
	var b strings.Builder
	statusRejection(&b, s, now, style)
	statusTable(&b, jobs, now, style)
	statusErrors(&b, jobs, style)
	statusImports(&b, jobs, style)
	statusClosed(&b, s.Closed, style)
	for _, budget := range s.Budgets {
		b.WriteString(budget.line(now) + "\n\n")
	}
	statusTotals(&b, s, now)
	return write(w, b.String())
}

func urgency(j ServiceJob) int {
	switch {
	case j.Failures > 0:
		return 0
	case j.Overdue:
		return 1
	case j.State == stateRunning:
		return 2
	}
	return 3
}

// compareDue has what is never due last.
func compareDue(a, b time.Time) int {
	if a.IsZero() || b.IsZero() {
		return b.Compare(a)
	}
	return a.Compare(b)
}

func statusRejection(b *strings.Builder, s Service, now time.Time, style Style) {
	if len(s.Rejected) == 0 {
		return
	}
	b.WriteString(style.paint(red, fmt.Sprintf("The config read %s is rejected; the one loaded %s runs on:", ago(s.RejectedAt, now), ago(s.Loaded, now))) + "\n")
	for _, line := range s.Rejected {
		b.WriteString("  " + style.wrap(Line(line), 2) + "\n")
	}
	b.WriteByte('\n')
}

// statusRow is the line about one job.
type statusRow struct {
	cells [5]string
	// colors are those of the cells, empty for none.
	colors [5]color
}

const minJobColumn = 12

func statusTable(b *strings.Builder, jobs []ServiceJob, now time.Time, style Style) {
	if len(jobs) == 0 {
		b.WriteString("There are no jobs: the config has no mappings.\n")
		return
	}
	rows := []statusRow{{cells: [5]string{"JOB", "STATE", "LAST", "SUCCESS", "NEXT"}, colors: [5]color{bold, bold, bold, bold, bold}}}
	for _, j := range jobs {
		rows = append(rows, statusRowOf(j, now))
	}
	var widths [5]int
	for _, r := range rows {
		for i, cell := range r.cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	widths[0] = min(widths[0], maxAligned)
	if style.Width > 0 {
		room := style.Width - widths[1] - widths[2] - widths[3] - widths[4] - 2*(len(widths)-1)
		widths[0] = min(widths[0], max(minJobColumn, room))
	}
	for _, r := range rows {
		if style.Width > 0 {
			r.cells[0] = middle(r.cells[0], widths[0])
		}
		var line strings.Builder
		for i, cell := range r.cells {
			gap := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell))+2)
			if i == len(r.cells)-1 {
				gap = ""
			}
			line.WriteString(style.paint(r.colors[i], cell) + gap)
		}
		b.WriteString(line.String() + "\n")
	}
}

func statusRowOf(j ServiceJob, now time.Time) statusRow {
	r := statusRow{cells: [5]string{Line(j.Job), Line(j.State), "–", "never", nextText(j, now)}}
	switch j.State {
	case stateRunning:
		r.colors[1] = green
	case stateWaiting, stateDeferred:
		r.colors[1] = yellow
	}
	if j.Outcome != "" {
		r.cells[2] = Line(j.Outcome)
		if j.Failures > 1 {
			r.cells[2] += fmt.Sprintf(" ×%d", j.Failures)
		}
		r.cells[2] += " " + ago(j.Ended, now)
		if j.Unverified > 0 {
			r.cells[2] += fmt.Sprintf(", %d unverified", j.Unverified)
		}
		r.colors[2] = outcomeColor(j.Outcome)
	}
	if !j.LastSuccess.IsZero() {
		r.cells[3] = ago(j.LastSuccess, now)
	}
	if j.Overdue {
		r.cells[3] += ", overdue"
		r.colors[3] = red
	}
	return r
}

func outcomeColor(outcome string) color {
	switch outcome {
	case "ok":
		return ""
	case stateDeferred, "cut-off":
		return yellow
	}
	return red
}

// nextText says when a job runs next, or what it waits for and until when.
func nextText(j ServiceJob, now time.Time) string {
	text := "when asked for"
	switch {
	case j.State == stateRunning:
		text = "runs for " + span(now.Sub(j.Started))
	case j.State == stateWaiting:
		return "due, waits for a free place"
	case !j.Due.IsZero():
		text = until(j.Due, now)
	}
	if !j.DeferredUntil.IsZero() {
		text += ", waits for a budget until " + clockText(j.DeferredUntil, now)
	}
	return text
}

// clockText leaves out the date of what is near.
func clockText(t, now time.Time) string {
	if t.Sub(now) < 12*time.Hour {
		return wholeSecond(t).Format("15:04:05 MST")
	}
	return timeText(t)
}

func statusErrors(b *strings.Builder, jobs []ServiceJob, style Style) {
	first := true
	for _, j := range jobs {
		if j.Error == "" {
			continue
		}
		if first {
			b.WriteByte('\n')
			first = false
		}
		b.WriteString(style.paint(red, fmt.Sprintf("error: job %s: %s", Line(j.Job), Line(j.Error))) + "\n")
	}
}

// statusClosed says which registries are not looked at.
func statusClosed(b *strings.Builder, list []ClosedRegistry, style Style) {
	for i, c := range list {
		if i == 0 {
			b.WriteByte('\n')
		}
		in := ""
		if c.Repositories > 1 {
			in = fmt.Sprintf(" in %d repositories", c.Repositories)
		}
		text := fmt.Sprintf("%s: the data plane is closed to dray%s, and what Azure imports is not verified: %s", Line(c.Registry), in, Line(c.Reason))
		b.WriteString(style.paint(yellow, text) + "\n")
	}
}

func statusTotals(b *strings.Builder, s Service, now time.Time) {
	running, failing, overdue := 0, 0, 0
	for _, j := range s.Jobs {
		if j.State == stateRunning {
			running++
		}
		if j.Failures > 0 {
			failing++
		}
		if j.Overdue {
			overdue++
		}
	}
	fmt.Fprintf(b, "\nStatus: %s, %d running of at most %d, %d failing, %d overdue; ", count(len(s.Jobs), "job"), running, s.Parallel, failing, overdue)
	if s.Stopping {
		b.WriteString("stopping, ")
	}
	fmt.Fprintf(b, "dray %s, started %s, config loaded %s\n", Line(s.Version), ago(s.Started, now), ago(s.Loaded, now))
}

func ago(t, now time.Time) string { return span(now.Sub(t)) + " ago" }

func until(t, now time.Time) string {
	if d := t.Sub(now); d >= time.Second {
		return "in " + span(d)
	}
	return "now"
}

// span is [Elapsed] in whole seconds, and with days.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	d = d.Truncate(time.Second)
	switch {
	case d == 0:
		return "0s"
	case d < 2*day:
		return Elapsed(d)
	}
	d = d.Round(time.Hour)
	text := fmt.Sprintf("%dd", d/day)
	if rest := d % day / time.Hour; rest > 0 {
		text += fmt.Sprintf("%dh", rest)
	}
	return text
}
