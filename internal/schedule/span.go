package schedule

import (
	"math"
	"time"
)

// span is a time during which a zone's clock runs evenly, in seconds since 1970.
type span struct {
	start, end int64
	// offset is what the clock shows beyond UTC, and before what it showed beyond UTC until start.
	offset, before int64
}

// spanAt returns the span that a time is in. Other than the times that ZoneBounds returns, it does contain that time: where a zone
// has only a rule for the years to come, these can lie before 31 December of a leap year (golang.org/issue/81583), and before the
// last change that the rule does not know of.
func spanAt(at int64, location *time.Location) span {
	start, end := time.Unix(at, 0).In(location).ZoneBounds()
	s := span{start: math.MinInt64, end: math.MaxInt64, offset: offsetAt(at, location)}
	s.before = s.offset
	if !end.IsZero() {
		if s.end = end.Unix(); s.end <= at {
			const day = 24 * 60 * 60
			s.end = (floor(at, day) + 1) * day
		}
	}
	if !start.IsZero() {
		s.start = start.Unix()
		if offsetAt(s.start, location) != s.offset {
			s.start = changeBefore(s.start, at, location)
		}
		s.before = offsetAt(s.start-1, location)
	}
	return s
}

func offsetAt(at int64, location *time.Location) int64 {
	_, offset := time.Unix(at, 0).In(location).Zone()
	return int64(offset)
}

// changeBefore returns when a clock came to show what it shows at a time, given an earlier one at which it did not.
func changeBefore(earlier, at int64, location *time.Location) int64 {
	for offset := offsetAt(at, location); at-earlier > 1; {
		if middle := earlier + (at-earlier)/2; offsetAt(middle, location) == offset {
			at = middle
		} else {
			earlier = middle
		}
	}
	return at
}
