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
	r := row{label: label}
	switch out.Settled() {
	case record.Kept:
		r.sign, r.note = "=", "unchanged"+unverified(out)
		if out.Reason == diff.Immutable {
			r.note = "there, and immutable"
		}
	case record.Imported:
		r.sign, r.color, r.digests, r.note = "+", green, digests(out.Action), cost+unverified(out)
		if out.Reason == diff.Moved {
			r.sign, r.color = "~", yellow
		}
	case record.Refused:
		r.sign, r.color, r.digests = "!", yellow, digests(out.Action)
		r.note = "refused: " + Line(cmp.Or(out.Detail, string(out.Reason)))
	case record.Failed, record.NothingChosen, record.Absent:
		r.sign, r.color, r.note = "x", red, verdict(out.Status)+": "+errorLine(out.Err)
	case record.Deferred:
		r.sign, r.color, r.note = ">", yellow, deferral(out)
	}
	return r
}

// unverified says that a target was not looked at.
func unverified(out mirror.Outcome) string {
	if out.Unverified {
		return ", unverified"
	}
	return ""
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

func deferral(out mirror.Outcome) string {
	text := "deferred"
	if !out.RetryAt.IsZero() {
		text += " until " + timeText(out.RetryAt)
	}
	if out.Err != nil {
		text += ": " + errorLine(out.Err)
	}
	return text
}

func timeText(t time.Time) string { return record.WholeSecond(t).Format("2006-01-02 15:04:05 MST") }

func digests(a diff.Action) string {
	if a.Was == "" || a.Digest == "" || a.Was == a.Digest {
		return short(a.Digest)
	}
	return short(a.Was) + " → " + short(a.Digest)
}

func short(d image.Digest) string { return Line(image.ShortDigest(d)) }

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
