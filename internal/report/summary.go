package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// Summary writes what a sync did: a line for each tag that was imported, refused or deferred, then one for each cause of failures, or with
// [Style.Verbose] for each failure, and with [Style.Shown] without what a [Progress] has shown, then the sums, and what to do next. Kept tags are only counted. No line is wrapped, so that each can be
// searched for. The command is the one that did it: "import" has no config to go by.
func Summary(w io.Writer, command string, results []mirror.Result, took time.Duration, style Style) error {
	var rows []row
	for _, r := range results {
		for _, out := range r.Outcomes {
			switch status := out.Settled(); {
			case status == record.Kept, status.Failure():
			case style.Shown && out.Engine != "":
			default:
				rows = append(rows, rowOf(out, name(out.Target), paid(out)))
			}
		}
	}
	var b strings.Builder
	table(&b, rows, 0, Style{Color: style.Color})
	for _, c := range causes(results, style.Verbose) {
		b.WriteString(style.paint(red, failure(c)) + "\n")
	}
	summaryTotals(&b, command, results, interruptions(results), took, style)
	return write(w, b.String())
}

// paid says what an import took.
func paid(out mirror.Outcome) string {
	return mounted(fmt.Sprintf("%s in %s", Size(out.Bytes), Elapsed(out.Duration)), out.Cost)
}

// causes are why something failed; each is one failure, to whom wants to see all.
func causes(results []mirror.Result, each bool) []record.Cause {
	if !each {
		return clean(mirror.Causes(results...))
	}
	var list []record.Cause
	for _, r := range results {
		for _, out := range r.Outcomes {
			list = append(list, mirror.Causes(mirror.Result{Job: r.Job, Outcomes: []mirror.Outcome{out}})...)
		}
		r.Outcomes = nil
		list = append(list, mirror.Causes(r)...)
	}
	return clean(list)
}

// clean has nothing in causes that a terminal would obey.
func clean(causes []record.Cause) []record.Cause {
	for i := range causes {
		c := &causes[i]
		c.Error, c.Code, c.Job = Line(c.Error), bounded(c.Code, maxCode), Line(c.Job)
		for j, ref := range c.References {
			c.References[j] = Line(ref)
		}
	}
	return causes
}

func failure(c record.Cause) string {
	if c.Job == "" {
		return "error: " + c.String()
	}
	return fmt.Sprintf("error: job %s: %s", c.Job, c)
}

func summaryTotals(b *strings.Builder, command string, results []mirror.Result, interrupted int, took time.Duration, style Style) {
	t := tally(results)
	t.Failed -= interrupted
	fmt.Fprintf(b, "Sync: %d imported%s; %s moved", t.Import, counts(t), Size(t.Bytes))
	if t.Mounted > 0 {
		fmt.Fprintf(b, ", %s mounted", Size(t.Mounted))
	}
	fmt.Fprintf(b, ", %s, in %s\n", count(t.Pulls, "manifest pull"), Elapsed(took))
	again := "dray sync" + style.Config
	if command == "import" {
		again = "the same command"
	}
	switch {
	case t.Failed == 0 && interrupted > 0:
		fmt.Fprintf(b, "Interrupted with %d not done. Run %s again: what arrived stays.\n", interrupted, again)
	case t.Failed > 0 && (command == "import" || !ofRegistries(results)):
		fmt.Fprintf(b, "Fix that and run %s again: what arrived stays.\n", again)
	case t.Failed > 0:
		fmt.Fprintf(b, "Run dray check --online%s to see which registries answer, then %s again: what arrived stays.\n", style.Config, again)
	}
	if at := lastRetry(results); !at.IsZero() {
		fmt.Fprintf(b, "Run %s again after %s for what was deferred.\n", again, timeText(at))
	}
}

// ofRegistries reports whether something has failed at a registry: a filter that chooses nothing and a folder are no matter of
// `dray check --online`.
func ofRegistries(results []mirror.Result) bool {
	at := func(err error) bool {
		side, ok := errors.AsType[*mirror.SideError](err)
		return ok && !mirror.Interrupted(err) && !strings.HasPrefix(side.Ref, image.LayoutScheme)
	}
	return slices.ContainsFunc(results, func(r mirror.Result) bool {
		return at(r.Err) || slices.ContainsFunc(r.Outcomes, func(out mirror.Outcome) bool { return out.Settled() == record.Failed && at(out.Err) })
	})
}

// lastRetry returns when all deferred actions may be tried again.
func lastRetry(results []mirror.Result) time.Time {
	var at time.Time
	for _, r := range results {
		for _, out := range r.Outcomes {
			if out.Settled() == record.Deferred && out.RetryAt.After(at) {
				at = out.RetryAt
			}
		}
	}
	return at
}
