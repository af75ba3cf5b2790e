package config

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/draysync/dray/internal/image"
)

// maxQuote limits a quotation of the file in a message, in bytes.
const maxQuote = 80

// quote returns a text of the file for use in a message: quoted and short.
func quote(s string) string {
	s = withoutUserinfo(s)
	if short := clip(s); short != s {
		return strconv.Quote(strings.TrimSuffix(short, "…")) + "…"
	}
	return strconv.Quote(s)
}

// withoutUserinfo removes what may be a user name and password from any position. Text after white space is not userinfo, as in "CRON_TZ=UTC
// @daily".
func withoutUserinfo(s string) string {
	first, last := strings.IndexByte(s, '@'), strings.LastIndexByte(s, '@')
	if first <= 0 || s[first-1] == ' ' || !image.HoldsUserinfo(s) {
		return s
	}
	return redacted + s[last:]
}

// clip shortens a text and removes line breaks and other control characters.
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
