package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// clean replaces what is no text: control characters but newlines, and those that change the direction of writing or are not seen.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (!unicode.IsGraphic(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// ago says how long something was before now.
func ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

// until says how long something is after now.
func until(d time.Duration) string {
	if d < time.Second {
		return "now"
	}
	return "in " + span(d)
}

// span writes a duration in the largest unit of which there are at least two.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Minute:
		return number(int64(d.Round(time.Second)/time.Second), "second")
	case d < 2*time.Hour:
		return number(int64(d.Round(time.Minute)/time.Minute), "minute")
	case d < 2*day:
		return number(int64(d.Round(time.Hour)/time.Hour), "hour")
	}
	return number(int64(d.Round(day)/day), "day")
}

// number writes a number with its noun, and separates its thousands.
func number(n int64, noun string) string {
	text := thousands(n) + " " + noun
	if n != 1 {
		text += "s"
	}
	return text
}

func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// size writes a number of bytes in SI units, with at most one decimal.
func size(bytes int64) string {
	value, unit := float64(bytes), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB", "PB", "EB"} {
		if value < 999.5 {
			break
		}
		value, unit = value/1000, next
	}
	text := fmt.Sprintf("%.1f", value)
	if value >= 99.95 || unit == "B" {
		text = fmt.Sprintf("%.0f", value)
	}
	return strings.TrimSuffix(text, ".0") + " " + unit
}
