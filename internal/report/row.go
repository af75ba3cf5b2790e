package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// row is the line about one action. All its text is harmless to a terminal.
type row struct {
	sign  string
	color color
	label string
	// digests is what the target tag held and will hold; empty where that is not known.
	digests string
	note    string
}

// rowOf describes an outcome under a label. The cost is what to say of an import.
func rowOf(out mirror.Outcome, label, cost string) row {
	a := out.Record()
	a.Outcome = out.Settled()
	return actionRow(&a, label, cost)
}

// actionRow describes an action that has an outcome.
func actionRow(a *record.Action, label, cost string) row {
	r := row{label: label}
	unverified := ""
	if a.Unverified { // dray could not read the target
		unverified = ", unverified"
	}
	switch a.Outcome {
	case record.Kept:
		r.sign, r.note = "=", "unchanged"+unverified
		if a.Reason == string(diff.Immutable) {
			r.note = "there, and immutable"
		}
	case record.Imported:
		r.sign, r.color, r.digests, r.note = "+", green, digests(a), cost+unverified
		if a.Reason == string(diff.Moved) {
			r.sign, r.color = "~", yellow
		}
	case record.Refused:
		r.sign, r.color, r.digests = "!", yellow, digests(a)
		r.note = "refused: " + Line(cmp.Or(a.Error, a.Reason))
	case record.Failed, record.NothingChosen, record.Absent:
		r.sign, r.color, r.note = "x", red, verdict(a.Outcome)+": "+Line(a.Error)
	case record.Deferred:
		r.sign, r.color, r.note = ">", yellow, deferral(a)
	}
	return r
}

// verdict is what to call a status that counts as failed.
func verdict(s record.Status) string {
	switch s {
	case record.NothingChosen:
		return "nothing chosen"
	case record.Absent:
		return "absent at the source"
	case record.Failed, record.Kept, record.Imported, record.Refused, record.Deferred:
	}
	return "failed"
}

func deferral(a *record.Action) string {
	text := "deferred"
	if a.RetryAt != nil {
		text += " until " + timeText(*a.RetryAt)
	}
	if a.Error != "" {
		text += ": " + Line(a.Error)
	}
	return text
}

func timeText(t time.Time) string { return record.WholeSecond(t).Format("2006-01-02 15:04:05 MST") }

func digests(a *record.Action) string {
	if a.Was == "" || a.Digest == "" || a.Was == a.Digest {
		return short(a.Digest)
	}
	return short(a.Was) + " → " + short(a.Digest)
}

func short(digest string) string { return Line(image.ShortDigest(image.Digest(digest))) }

// mounted adds to a text what the target took from its own repositories.
func mounted(text string, c mirror.Cost) string {
	if c.Mounted > 0 {
		text += fmt.Sprintf(" (%s mounted)", Size(c.Mounted))
	}
	return text
}

// maxAligned bounds the columns, so that one long name does not push all notes off the screen.
const maxAligned = 72

// table writes rows with their columns aligned, each line indented.
func table(b *strings.Builder, rows []row, indent int, style Style) {
	label, digest := 0, 0
	for _, r := range rows {
		label = max(label, min(maxAligned, utf8.RuneCountInString(r.label)))
		digest = max(digest, utf8.RuneCountInString(r.digests))
	}
	margin := strings.Repeat(" ", indent)
	for _, r := range rows {
		line := margin + r.sign + " " + pad(r.label, label) + "  "
		if r.digests != "" {
			line += pad(r.digests, digest) + "  "
		}
		text := style.wrap(r.note, utf8.RuneCountInString(line))
		b.WriteString(margin + style.paint(r.color, strings.TrimRight(line[indent:]+text, " ")) + "\n")
	}
}
