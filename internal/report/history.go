package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// History writes a line for each run, in their order, and why it failed. With [Style.Verbose] each run has a table of its own, with what it
// changed and what failed.
func History(w io.Writer, runs []record.JobRun, now time.Time, style Style) error {
	var b strings.Builder
	if len(runs) == 0 {
		b.WriteString("There are no runs yet.\n")
	}
	rows := []cells{heads("ENDED", "JOB", "WHY", "RESULT", "TOOK", "DID")}
	for i := range runs {
		rows = append(rows, runRow(&runs[i], now))
		if style.Verbose {
			columns(&b, rows, 1, style)
			runActions(&b, &runs[i], style)
			rows = rows[:1]
		}
	}
	if len(rows) > 1 {
		columns(&b, rows, 1, style)
		for i := range runs {
			runError(&b, &runs[i], style)
		}
	}
	return write(w, b.String())
}

// runRow is the line about one run.
func runRow(run *record.JobRun, now time.Time) cells {
	did := fmt.Sprintf("%d imported%s", run.Counts.Import, counts(run.Counts))
	if run.Counts.Bytes > 0 {
		did += ", " + Size(run.Counts.Bytes) + " moved"
	}
	if run.Counts.Pulls > 0 {
		did += ", " + count(run.Counts.Pulls, "manifest pull")
	}
	if run.Repeats > 0 {
		did += fmt.Sprintf("; the same %d times since %s", run.Repeats+1, timeText(run.Since))
	}
	return cells{
		{text: ago(run.Ended, now)}, {text: Line(run.Job)}, {text: Line(string(run.Trigger))}, {Line(string(run.Outcome)), outcomeColor(run.Outcome)},
		{text: Elapsed(run.Ended.Sub(run.Started))}, {text: did},
	}
}

func runError(b *strings.Builder, run *record.JobRun, style Style) {
	if run.Error != "" {
		text := fmt.Sprintf("error: job %s, %s: %s", Line(run.Job), timeText(run.Ended), Line(run.Error))
		b.WriteString(style.paint(red, text) + "\n")
	}
}

// runActions writes what a run changed and what failed, as far as it is saved.
func runActions(b *strings.Builder, run *record.JobRun, style Style) {
	rows := make([]row, 0, len(run.Actions))
	for i := range run.Actions {
		a := &run.Actions[i]
		rows = append(rows, actionRow(a, Line(a.Target), fmt.Sprintf("%s in %s", Size(a.Bytes), Elapsed(time.Duration(a.Duration)))))
	}
	table(b, rows, 2, style)
	if len(rows) == 0 {
		runError(b, run, style)
	}
	if run.More > 0 {
		fmt.Fprintf(b, "  … and %d more\n", run.More)
	}
	b.WriteByte('\n')
}
