package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds, in characters, what is told of one error or name. A refusal of Azure's with the command that grants the role fits.
const maxText = 1000

// Line makes text of unknown origin fit for one line of a terminal: white space, newlines among it, becomes single
// spaces; other control and formatting characters (escape sequences, changes of writing direction) and what is not UTF-8
// become U+FFFD; and it ends after maxText characters.
func Line(s string) string { return bounded(s, maxText) }

func bounded(s string, limit int) string {
	var b strings.Builder
	length, space := 0, false
	for _, r := range s {
		if unicode.IsSpace(r) {
			space = length > 0
			continue
		}
		if space {
			length++
		}
		if length++; length > limit {
			b.WriteString("…")
			break
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		if !harmless(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return b.String()
}

// harmless tells whether a terminal draws r and does nothing else with it.
func harmless(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// errorLine is [Line] of an error; empty for nil.
func errorLine(err error) string {
	if err == nil {
		return ""
	}
	return Line(err.Error())
}
