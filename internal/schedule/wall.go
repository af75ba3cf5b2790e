package schedule

import (
	"math/bits"
	"time"
)

// wall has the fields of cron, each a set of numbers as bits, to compare with a wall clock.
type wall struct {
	minute, hour, day, month, weekday uint64
	// either is set if a day must match only one of day and weekday, not both.
	either bool
	// makesUp is set if one run right after the gap makes up for skipped wall clock times.
	makesUp bool
	// repeats is set if wall clock times that the clock shows twice count twice.
	repeats  bool
	location *time.Location
}

// horizon is how far ahead to search for an occurrence, in seconds. The 29th of February can be eight years away.
const horizon = 9 * 366 * 24 * 60 * 60

// next returns the first occurrence after a time. It searches span by span, since within a span the wall clock differs from UTC by a constant.
func (w *wall) next(after time.Time) time.Time {
	from := after.Unix() + 1
	for limit := from + horizon; from < limit; {
		s := spanAt(from, w.location)
		if at, ok := w.within(s, from, min(s.end, limit)); ok {
			return time.Unix(at, 0).UTC()
		}
		from = s.end
	}
	return time.Time{}
}

// within returns the first occurrence in a span from one time (inclusive) to another (exclusive).
func (w *wall) within(s span, from, to int64) (int64, bool) {
	switch {
	case s.offset > s.before && w.makesUp && from <= s.start:
		if _, skipped := w.match(s.start+s.before, s.start+s.offset); skipped {
			return s.start, true
		}
	case s.offset < s.before && !w.repeats:
		from = max(from, s.start+s.before-s.offset)
	}
	at, ok := w.match(from+s.offset, to+s.offset)
	return at - s.offset, ok
}

// match returns the first matching time from one (inclusive) to another (exclusive), on a clock without changes.
func (w *wall) match(from, to int64) (int64, bool) {
	for at := -floor(-from, 60) * 60; at < to; {
		t := time.Unix(at, 0).UTC()
		year, month, day := t.Date()
		if w.month>>month&1 == 0 {
			at = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC).Unix()
			continue
		}
		midnight := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix()
		if minutes, ok := w.inDay(t.Hour(), t.Minute()); ok && w.on(day, t.Weekday()) {
			at = midnight + 60*int64(minutes)
			return at, at < to
		}
		at = midnight + 24*60*60
	}
	return 0, false
}

func (w *wall) on(day int, weekday time.Weekday) bool {
	inMonth, inWeek := w.day>>day&1 != 0, w.weekday>>weekday&1 != 0
	if w.either {
		return inMonth || inWeek
	}
	return inMonth && inWeek
}

// inDay returns the first match at or after a time of the day, in minutes since midnight.
func (w *wall) inDay(hour, minute int) (int, bool) {
	if w.hour>>hour&1 != 0 {
		if rest := w.minute >> minute; rest != 0 {
			return 60*hour + minute + bits.TrailingZeros64(rest), true
		}
	}
	hour++
	rest := w.hour >> hour
	if rest == 0 {
		return 0, false
	}
	return 60*(hour+bits.TrailingZeros64(rest)) + bits.TrailingZeros64(w.minute), true
}
