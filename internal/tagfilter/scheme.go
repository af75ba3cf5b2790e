package tagfilter

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The orders of tags that newest can go by, as a config names them.
const (
	sortSemver  = "semver"
	sortDate    = "date"
	sortNumeric = "numeric"
)

// scheme is the order that newest goes by.
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

// compare orders the newest first. It is total: only one and the same tag is equal.
func (s scheme) compare(a, b candidate) int {
	if s == bySemver {
		return byVersion(a, b)
	}
	return cmp.Or(cmp.Compare(b.key, a.key), byLength(a, b))
}

// key returns a text that orders like the tags do in the scheme; it is empty for a tag that has nothing of the kind.
func (s scheme) key(stem string) string {
	if s == byDate {
		return dateKey(stem)
	}
	return natural(strings.Join(strings.FieldsFunc(stem, func(r rune) bool { return r < '0' || r > '9' }), "."))
}

// date is a day in a tag, and what stands behind it: 20240329, 2024-03-29, 2024.3.29, v20240329-a1b2c3, build-2024_03_29T1200.
var date = regexp.MustCompile(`(?:^|[^0-9])((?:19|20)[0-9]{2})(?:([01][0-9])([0-3][0-9])|[._-]([01]?[0-9])[._-]([0-3]?[0-9]))(.*)$`)

// dateKey orders tags by the first date in them, and what has the same date by what follows, where numbers count as numbers.
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
		return "" // there is no such day
	}
	return at.Format("20060102") + natural(m[6])
}

// natural returns a text that orders as the given one does if its numbers are compared as numbers: each is led by its length.
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
		b.WriteByte('0' + byte(len(digits))) // a tag is too short for that to end beyond a byte
		b.WriteString(digits)
		text = text[end:]
	}
	return b.String()
}
