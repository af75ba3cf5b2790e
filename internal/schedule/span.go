package schedule

import (
	"math"
	"time"
)

// span is a period, in seconds since 1970, during which a zone's offset from UTC does not change.
type span struct {
	start, end int64
	// offset is the offset from UTC in the span, before the one until start.
	offset, before int64
}

// spanAt returns the span that contains a time. The bounds of ZoneBounds need not contain it: if a zone has only a rule for future years,
// they can lie before 31 December of a leap year (golang.org/issue/81583), and before the last change that the rule does not cover.
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

// changeBefore returns when a zone's offset changed to its value at a time, given an earlier time with another offset.
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
