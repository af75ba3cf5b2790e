package report

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/draysync/dray/internal/mirror"
)

// Summary writes what a sync did: a line for each tag that was imported, refused or deferred, then one for each failure,
// then the sums, and what to do next. Kept tags are only counted. No line is wrapped, so that each can be searched for. The command is the one
// that did it: "import" has no config to go by.
func Summary(w io.Writer, command string, results []mirror.Result, took time.Duration, style Style) error {
	var rows []row
	var failures []string
	for _, r := range results {
		if r.Err != nil {
			failures = append(failures, failure(r.Job, r.Err))
		}
		for _, out := range r.Outcomes {
			switch settled(out) {
			case mirror.Kept:
			case mirror.Failed:
				failures = append(failures, failure(r.Job, located(out)))
			case mirror.Imported, mirror.Refused, mirror.Deferred:
				rows = append(rows, rowOf(out, name(out.Target), paid(out)))
			}
		}
	}
	var b strings.Builder
	table(&b, rows, 0, Style{Color: style.Color})
	for _, line := range failures {
		b.WriteString(style.paint(red, line) + "\n")
	}
	summaryTotals(&b, command, results, took)
	return write(w, b.String())
}

// paid says what an import took.
func paid(out mirror.Outcome) string {
	return mounted(fmt.Sprintf("%s in %s", Size(out.Bytes), Elapsed(out.Duration)), out.Cost)
}

func failure(job string, err error) string {
	return fmt.Sprintf("error: job %s: %s", Line(job), errorLine(err))
}

// located makes sure that the error of a failed outcome says what it is about.
func located(out mirror.Outcome) error {
	if _, ok := errors.AsType[*mirror.SideError](out.Err); ok {
		return out.Err
	}
	if out.Err == nil {
		return fmt.Errorf("%s → %s: failed", name(out.Source), name(out.Target))
	}
	return fmt.Errorf("%s → %s: %w", name(out.Source), name(out.Target), out.Err)
}

func summaryTotals(b *strings.Builder, command string, results []mirror.Result, took time.Duration) {
	t := tally(results)
	fmt.Fprintf(b, "Sync: %d imported%s; %s moved", t.Import, counts(t), Size(t.Bytes))
	if t.Mounted > 0 {
		fmt.Fprintf(b, ", %s mounted", Size(t.Mounted))
	}
	fmt.Fprintf(b, ", %s, in %s\n", count(t.Pulls, "manifest pull"), Elapsed(took))
	again := "dray sync"
	if command == "import" {
		again = "the same"
	}
	switch {
	case t.Failed > 0 && command == "import":
		b.WriteString("Run the same again once that is mended: what arrived stays.\n")
	case t.Failed > 0:
		b.WriteString("Run dray check --online to see which registries answer, then dray sync again: what arrived stays.\n")
	}
	if at := lastRetry(results); !at.IsZero() {
		fmt.Fprintf(b, "Run %s again after %s for what was deferred.\n", again, timeText(at))
	}
}

// lastRetry returns when all deferred actions may be tried again.
func lastRetry(results []mirror.Result) time.Time {
	var at time.Time
	for _, r := range results {
		for _, out := range r.Outcomes {
			if settled(out) == mirror.Deferred && out.RetryAt.After(at) {
				at = out.RetryAt
			}
		}
	}
	return at
}
