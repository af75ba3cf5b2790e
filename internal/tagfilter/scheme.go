package tagfilter

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The orders of tags for newest, as named in a config.
const (
	sortSemver  = "semver"
	sortDate    = "date"
	sortNumeric = "numeric"
)

// scheme is the order of tags for newest.
type scheme int

const (
	bySemver scheme = iota
	byDate
	byNumber
)

func schemeOf(name string) scheme {
	switch name {
	case sortDate:
		return byDate
	case sortNumeric:
		return byNumber
	}
	return bySemver
}

// compare orders the newest first. The order is total: different tags are never equal.
func (s scheme) compare(a, b candidate) int {
	if s == bySemver {
		return byVersion(a, b)
	}
	return cmp.Or(cmp.Compare(b.key, a.key), byLength(a, b))
}

// key returns a sort key of a tag in the scheme; it is empty if the tag has no date or number.
func (s scheme) key(stem string) string {
	if s == byDate {
		return dateKey(stem)
	}
	return natural(strings.Join(strings.FieldsFunc(stem, func(r rune) bool { return r < '0' || r > '9' }), "."))
}

// date matches a date in a tag, and the rest of the tag: 20240329, 2024-03-29, 2024.3.29, v20240329-a1b2c3, build-2024_03_29T1200.
var date = regexp.MustCompile(`(?:^|[^0-9])((?:19|20)[0-9]{2})(?:([01][0-9])([0-3][0-9])|[._-]([01]?[0-9])[._-]([0-3]?[0-9]))(.*)$`)

// dateKey orders tags by their first date, and tags with the same date by the rest, in which numbers compare as numbers.
func dateKey(stem string) string {
	m := date.FindStringSubmatch(stem)
	if m == nil {
		return ""
	}
	number := func(texts ...string) int {
		n, _ := strconv.Atoi(cmp.Or(texts...))
		return n
	}
	year, month, day := number(m[1]), number(m[2], m[4]), number(m[3], m[5])
	at := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if at.Year() != year || int(at.Month()) != month || at.Day() != day {
		return "" // not a valid date
	}
	return at.Format("20060102") + natural(m[6])
}

// natural returns a sort key that compares numbers in a text as numbers, by prefixing each with its length.
func natural(text string) string {
	var b strings.Builder
	for text != "" {
		end := strings.IndexAny(text, "0123456789")
		if end < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:end])
		text = text[end:]
		end = strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(text)
		}
		digits := strings.TrimLeft(text[:end], "0")
		b.WriteByte('0' + byte(len(digits))) // a tag is short enough for this to fit in a byte
		b.WriteString(digits)
		text = text[end:]
	}
	return b.String()
}
