package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// budgetName is the account, and its registry where that does not say so.
func budgetName(b record.Budget) string {
	if b.Account == b.Registry {
		return b.Registry
	}
	return b.Registry + " (" + b.Account + ")"
}

// budgetLine says what is left.
func budgetLine(b record.Budget, now time.Time) string {
	text := fmt.Sprintf("%s: %d of %d pulls left", budgetName(b), b.Remaining, b.Limit)
	if b.Window > 0 {
		text += " for " + span(time.Duration(b.Window))
	}
	if b.Keep > 0 {
		text += fmt.Sprintf(", %d kept for others", b.Keep)
	}
	if !b.RetryAt.IsZero() {
		text += fmt.Sprintf("; more are tried in %s", span(max(0, b.RetryAt.Sub(now).Round(time.Second))))
	}
	return Line(text)
}

// Need is what a job pulls of a budget by a plan, and when.
type Need struct {
	Job   string
	Pulls int
	// Now is how many of them fit at once; Done is when the last is made, zero where that cannot be told.
	Now  int
	Done time.Time
}

// Outlook is how the pulls of a plan fit into a budget.
type Outlook struct {
	record.Budget
	// Others is how many pulls of the window somebody else has made.
	Others int
	// About says that the numbers are guesses, since they cannot be known without a pull.
	About bool
	Needs []Need
}

// Forecast writes what the registry of a budget has left, what a plan needs of it, and, where that does not fit at once, when each job has
// what it needs.
func Forecast(w io.Writer, o Outlook, now time.Time) error {
	needed, fits, about := 0, 0, ""
	for _, n := range o.Needs {
		needed += n.Pulls
		fits += n.Now
	}
	if o.About {
		about = "about "
	}
	var b strings.Builder
	b.WriteString(budgetLine(o.Budget, now))
	if o.Others > 0 {
		fmt.Fprintf(&b, "; others have made %d", o.Others)
	}
	switch {
	case needed == 0:
	case o.Limit <= o.Keep:
		fmt.Fprintf(&b, "; the plan needs %s%d, and all are kept for others", about, needed)
	case fits == needed:
		fmt.Fprintf(&b, "; the plan needs %s%d", about, needed)
	default:
		fmt.Fprintf(&b, "; the plan needs %s%d: %d now", about, needed, fits)
		for _, n := range o.Needs {
			b.WriteString("\n  " + n.line(about, now))
		}
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}

// line says when a job has what it needs.
func (n Need) line(about string, now time.Time) string {
	text := fmt.Sprintf("%s: %s%s, ", n.Job, about, count(n.Pulls, "pull"))
	switch {
	case n.Pulls == n.Now:
		text += "now"
	case n.Done.IsZero():
		text += fmt.Sprintf("%d now", n.Now)
	default:
		text += fmt.Sprintf("%d now, the last by %s (in %s)", n.Now, n.Done.Format("Jan 2 15:04"), span(n.Done.Sub(now).Round(time.Minute)))
	}
	return Line(text)
}
