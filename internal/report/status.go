package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// Status writes what a daemon does, waits for and last did: a rejected config first, then a line for each job, those that need a look
// first; then the errors, the imports under way, and the sums.
func Status(w io.Writer, s record.Snapshot, style Style) error {
	now, jobs := s.Now, slices.Clone(s.Jobs)
	slices.SortStableFunc(jobs, func(a, b record.JobStatus) int { return a.Compare(&b) })
	var b strings.Builder
	statusRejection(&b, s.Config, now, style)
	if s.Paused != nil {
		b.WriteString(style.paint(yellow, "All jobs are "+pauseText(s.Paused, now)) + "\n\n")
	}
	statusTable(&b, jobs, now, style)
	statusErrors(&b, jobs, style)
	statusImports(&b, jobs, style)
	statusClosed(&b, s.Closed, style)
	statusReceivers(&b, s.Receivers, now)
	statusReplicas(&b, s, now)
	for _, budget := range s.Budgets {
		b.WriteString(budgetLine(budget, now) + "\n\n")
	}
	statusTotals(&b, s, now)
	return write(w, b.String())
}

// statusReplicas lists the replicas, and says where the ledger cannot be reached.
func statusReplicas(b *strings.Builder, s record.Snapshot, now time.Time) {
	l := s.Ledger
	if l != nil && !l.Reachable {
		fmt.Fprintf(b, "\nThe ledger cannot be reached for %s; this is what was known before.\n", span(now.Sub(l.Since)))
	}
	if len(s.Replicas) > 0 {
		fmt.Fprintf(b, "\n%s", count(len(s.Replicas), "replica"))
		if s.Config.InForce != "" {
			fmt.Fprintf(b, ", config %s in force", hashText(s.Config.InForce))
		}
		if l != nil && l.Reachable {
			fmt.Fprintf(b, ", ledger answers in %s", time.Duration(l.RoundTrip*float64(time.Second)).Round(100*time.Microsecond))
		}
		b.WriteString(":\n")
	}
	for _, r := range s.Replicas {
		fmt.Fprintf(b, "  %s: dray %s, joined %s, %s under way", Line(r.Name), Line(r.Dray), ago(r.Joined, now), count(r.Jobs, "job"))
		if r.Parts > 0 {
			fmt.Fprintf(b, ", %s of runs", count(r.Parts, "part"))
		}
		if !r.InForce {
			b.WriteString(", has another config than the one in force")
			if r.Generation != "" {
				b.WriteString(": " + hashText(r.Generation))
			}
		}
		b.WriteByte('\n')
	}
}

// hashText shortens a hash to what tells it from others.
func hashText(hash string) string { return Line(hash[:min(len(hash), record.HashShown)]) }

func statusRejection(b *strings.Builder, s record.Config, now time.Time, style Style) {
	if len(s.Rejected) == 0 {
		return
	}
	head := fmt.Sprintf("The config read %s is rejected; the one loaded %s runs on:", ago(s.RejectedAt, now), ago(s.Loaded, now))
	if s.Partly {
		head = fmt.Sprintf("Some files of the config read %s have mistakes, and stay as they were before:", ago(s.RejectedAt, now))
	}
	b.WriteString(style.paint(red, head) + "\n")
	for _, line := range s.Rejected {
		b.WriteString("  " + style.wrap(Line(line), 2) + "\n")
	}
	b.WriteByte('\n')
}

func statusTable(b *strings.Builder, jobs []record.JobStatus, now time.Time, style Style) {
	if len(jobs) == 0 {
		b.WriteString("There are no jobs: the config has no mappings.\n")
		return
	}
	rows := []cells{heads("JOB", "STATE", "LAST", "SUCCESS", "NEXT")}
	for _, j := range jobs {
		rows = append(rows, statusRow(j, now))
	}
	columns(b, rows, 0, style)
}

// statusRow is the line about one job.
func statusRow(j record.JobStatus, now time.Time) cells {
	row := cells{{text: Line(j.Job)}, {text: Line(string(j.State))}, {text: "–"}, {text: "never"}, {text: nextText(j, now)}}
	if j.Replica != "" {
		row[1].text += " at " + Line(j.Replica)
	}
	switch j.State {
	case record.JobRunning:
		row[1].color = green
	case record.JobWaiting, record.JobDeferred, record.JobPaused:
		row[1].color = yellow
	case record.JobScheduled, record.JobIdle:
	}
	if last := j.Last; last != nil {
		text := Line(string(last.Outcome))
		if j.Failures > 1 {
			text += fmt.Sprintf(" ×%d", j.Failures)
		}
		text += " " + ago(last.Ended, now)
		if n := last.Counts.Unverified; n > 0 {
			text += fmt.Sprintf(", %d unverified", n)
		}
		row[2] = cell{text, outcomeColor(last.Outcome)}
	}
	if !j.LastSuccess.IsZero() {
		row[3].text = ago(j.LastSuccess, now)
	}
	if j.Overdue {
		row[3].text += ", overdue"
		row[3].color = red
	}
	return row
}

func outcomeColor(outcome record.Result) color {
	switch outcome {
	case record.RunOK:
		return ""
	case record.RunDeferred, record.RunCutOff:
		return yellow
	case record.RunFailed, record.RunPartly:
	}
	return red
}

// nextText says when a job runs next, or what it waits for and until when.
func nextText(j record.JobStatus, now time.Time) string {
	text := "when asked for"
	switch {
	case j.State == record.JobPaused:
		return pauseText(j.Paused, now)
	case j.State == record.JobRunning:
		text = "runs for " + span(now.Sub(j.Started))
	case j.State == record.JobWaiting:
		return "due, waits for a free slot"
	case !j.Due.IsZero():
		text = until(j.Due, now)
	}
	if !j.DeferredUntil.IsZero() {
		what := "a budget"
		if j.OutsideWindows {
			what = "its window"
		}
		text += ", waits for " + what + " until " + clockText(j.DeferredUntil, now)
	}
	return text
}

// pauseText says since when something is paused, by whom and why.
func pauseText(p *record.Pause, now time.Time) string {
	if p == nil {
		return "paused"
	}
	text := "paused for " + span(now.Sub(p.Since))
	if p.By != "" {
		text += " by " + Line(p.By)
	}
	if p.Reason != "" {
		text += ": " + Line(p.Reason)
	}
	return text
}

// clockText leaves out the date of what is near.
func clockText(t, now time.Time) string {
	if t.Sub(now) < 12*time.Hour {
		return record.WholeSecond(t).Format("15:04:05 MST")
	}
	return timeText(t)
}

func statusErrors(b *strings.Builder, jobs []record.JobStatus, style Style) {
	first := true
	for _, j := range jobs {
		if j.Last == nil || j.Last.Error == "" {
			continue
		}
		if first {
			b.WriteByte('\n')
			first = false
		}
		b.WriteString(style.paint(red, fmt.Sprintf("error: job %s: %s", Line(j.Job), Line(j.Last.Error))) + "\n")
	}
}

// statusClosed says which registries are not looked at.
func statusClosed(b *strings.Builder, list []record.ClosedRegistry, style Style) {
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

func statusTotals(b *strings.Builder, s record.Snapshot, now time.Time) {
	t := record.Totals{}
	for i := range s.Jobs {
		t.Add(&s.Jobs[i])
	}
	fmt.Fprintf(b, "\nStatus: %s, %d running of at most %d, %d failing, %d overdue", count(len(s.Jobs), "job"), t.Running, s.Totals.Parallel, t.Failing, t.Overdue)
	if t.Paused > 0 {
		fmt.Fprintf(b, ", %d paused", t.Paused)
	}
	b.WriteString("; ")
	if s.Stopping {
		b.WriteString("stopping, ")
	}
	fmt.Fprintf(b, "dray %s, started %s, config loaded %s\n", Line(s.Dray), ago(s.Started, now), ago(s.Config.Loaded, now))
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
