package config

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuote bounds what a message repeats of the file, in bytes.
const maxQuote = 80

// quote makes any text of the file fit for a message.
func quote(s string) string {
	if short := clip(s); short != s {
		return strconv.Quote(strings.TrimSuffix(short, "…")) + "…"
	}
	return strconv.Quote(s)
}

// clip shortens a text and takes line breaks and the like out of it.
func clip(s string) string {
	if len(s) > maxQuote {
		cut := maxQuote
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	if strconv.CanBackquote(s) {
		return s
	}
	return strings.Trim(strconv.Quote(s), `"`)
}
