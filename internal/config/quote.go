package config

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/draysync/dray/internal/image"
)

// maxQuote bounds what a message repeats of the file, in bytes.
const maxQuote = 80

// quote makes any text of the file fit for a message.
func quote(s string) string {
	s = withoutUserinfo(s)
	if short := clip(s); short != s {
		return strconv.Quote(strings.TrimSuffix(short, "…")) + "…"
	}
	return strconv.Quote(s)
}

// withoutUserinfo takes out what may be a user's name and password, wherever somebody has put it. What follows white space is none,
// as in "CRON_TZ=UTC @daily".
func withoutUserinfo(s string) string {
	first, last := strings.IndexByte(s, '@'), strings.LastIndexByte(s, '@')
	if first <= 0 || s[first-1] == ' ' || !image.HoldsUserinfo(s) {
		return s
	}
	return redacted + s[last:]
}

// clip shortens a text and takes line breaks and the like out of it.
func clip(s string) string {
	s = withoutUserinfo(s)
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
