package schedule

import "time"

// Due returns when a job is due that last started at last, the zero time if it never did, or not as it now is. The anchor is that
// of [Schedule.Next]. The zero time means never.
//
//   - A job that never ran is due now, whatever its schedule and its jitter.
//   - Otherwise it is due at the first occurrence after the one that it ran for, plus its [Offset].
//   - If that has passed, however often, it is due once, at now + offset, or at its next regular time if that comes first.
//
// The result depends on now in the first and the third case: call it when a job has ended, is new or has changed, and keep what
// it says. Asked again and again, it would put the job off each time.
//
// The job ran for the last occurrence that was not later than last minus its offset, however long it had to wait beyond that. A
// last after now, as the clock was set back, counts for as much as one occurrence to come; from further ahead it is not believed.
func Due(s Schedule, key string, jitter time.Duration, last, anchor, now time.Time) time.Time {
	offset := Offset(key, jitter)
	last, now = last.Round(0), now.Round(0) // of what the clock shows, not of what has passed
	if last.IsZero() {
		return now
	}
	if s.IsZero() {
		return time.Time{}
	}
	due := s.nextWith(offset, last, anchor)
	regular := s.nextWith(offset, now, anchor)
	switch {
	case !due.After(now):
		if late := now.Add(offset); regular.IsZero() || late.Before(regular) {
			return late
		}
		return regular
	case last.After(now) && due.After(s.nextWith(offset, regular, anchor)):
		return regular
	}
	return due
}

// Deadline returns by when the next success is expected after one at lastSuccess, the end of that run: when the job is due for the
// occurrence after it. To that come the time that a run takes, and what it waits for. The zero time means that none is.
func Deadline(s Schedule, key string, jitter time.Duration, lastSuccess, anchor time.Time) time.Time {
	if s.IsZero() || lastSuccess.IsZero() {
		return time.Time{}
	}
	return s.nextWith(Offset(key, jitter), lastSuccess, anchor)
}

// nextWith returns the first occurrence, put off by an offset, that is after a time.
func (s Schedule) nextWith(offset time.Duration, after, anchor time.Time) time.Time {
	next := s.Next(after.Add(-offset), anchor)
	if next.IsZero() {
		return next
	}
	return next.Add(offset)
}
