package webhook

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// summary says for people what d says for programs.
func summary(d Data) string {
	var text string
	switch d.Kind {
	case Imported:
		text = fmt.Sprintf("%s: %s", d.Job, d.Counts)
	case Failed:
		text = fmt.Sprintf("%s failed (%s)", d.Job, d.Counts)
		if d.Failures > 1 {
			text += fmt.Sprintf(" for the %s time in a row", ordinal(d.Failures))
		}
		if why := d.why(); why != "" {
			text += ": " + why
		}
	case Recovered:
		text = fmt.Sprintf("%s recovered (%s)", d.Job, d.Counts)
		if !d.FailingSince.IsZero() {
			text += " after failing since " + d.FailingSince.UTC().Format(time.RFC3339)
		}
	case ConfigRejected:
		text = "the config was rejected"
		if len(d.Errors) > 0 {
			text += ": " + d.Errors[0]
		}
		if more := len(d.Errors) - 1 + d.ErrorsOmitted; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
	case ConfigAccepted:
		text = "the config is good again"
	case Missed:
		text = "notifications that did not arrive: " + missedText(d.Missed)
	}
	return clean(text, 2*maxText)
}

// String lists the outcomes that there are, kept ones only where there is nothing else.
func (c Counts) String() string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(c.Failed, "failed")
	add(c.Refused, "refused")
	add(c.Deferred, "deferred")
	add(c.Imported, "imported")
	if len(parts) == 0 {
		add(c.Kept, "kept")
	}
	if len(parts) == 0 {
		return "nothing to do"
	}
	return strings.Join(parts, ", ")
}

// why returns the job's error, or the first cause, or the first of an action.
func (d Data) why() string {
	if d.Error != "" {
		return d.Error
	}
	if len(d.Causes) > 0 {
		return d.Causes[0].String()
	}
	for _, a := range d.Actions {
		if a.Error != "" {
			return a.Target + ": " + a.Error
		}
	}
	return ""
}

func missedText(missed map[string]int) string {
	parts := make([]string, 0, len(missed))
	for kind, n := range missed {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func ordinal(n int) string {
	suffix := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s", n, suffix)
}

// clean makes text of unknown origin one line of at most limit characters: white space becomes single spaces, and what
// CloudEvents forbids in an attribute (control characters and non-characters) or what changes how a line is drawn becomes
// U+FFFD.
func clean(s string, limit int) string {
	var b strings.Builder
	length, space := 0, false
	for _, r := range s {
		if unicode.IsSpace(r) {
			space = length > 0
			continue
		}
		if length += 1; space {
			length++
		}
		if length > limit {
			b.WriteString("…")
			break
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		if !unicode.IsGraphic(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return b.String()
}
