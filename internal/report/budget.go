package report

import (
	"fmt"
	"io"
	"time"
)

// Budget is what a registry allows an account to pull in a window of time.
type Budget struct {
	Registry, Account      string
	Limit, Remaining, Keep int
	Window                 time.Duration
	// RetryAt is when what does not fit now is tried again; zero where there is something left.
	RetryAt time.Time
}

// name is the account, and its registry where that does not say so.
func (b Budget) name() string {
	if b.Account == b.Registry {
		return b.Registry
	}
	return b.Registry + " (" + b.Account + ")"
}

// line says what is left.
func (b Budget) line(now time.Time) string {
	text := fmt.Sprintf("%s: %d of %d pulls left", b.name(), b.Remaining, b.Limit)
	if b.Window > 0 {
		text += " for " + span(b.Window)
	}
	if b.Keep > 0 {
		text += fmt.Sprintf(", %d kept for others", b.Keep)
	}
	if !b.RetryAt.IsZero() {
		text += fmt.Sprintf("; more are tried in %s", span(max(0, b.RetryAt.Sub(now).Round(time.Second))))
	}
	return Line(text)
}

// Forecast writes what the registry of a budget has left, and how many windows a number of pulls takes; atLeast says that there may be
// more of them.
func Forecast(w io.Writer, b Budget, needed int, atLeast bool, now time.Time) error {
	text := b.line(now)
	needs := fmt.Sprintf("; the plan needs %d", needed)
	if atLeast {
		needs = fmt.Sprintf("; the plan needs at least %d", needed)
	}
	usable, left := b.Limit-b.Keep, max(0, b.Remaining-b.Keep)
	switch {
	case needed == 0:
	case needed <= left:
		text += needs
	case usable <= 0:
		text += needs + ", and all are kept for others"
	default:
		windows := (needed - left + usable - 1) / usable
		text += fmt.Sprintf("%s: %d now, the rest over %d more windows of %s", needs, left, windows, span(b.Window))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
