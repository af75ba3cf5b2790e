package schedule

import "time"

// Due returns when a job is due. The job last started at last, which is zero if it never did or has changed since. The anchor is that of
// [Schedule.Next]. The zero time means never.
//
//   - A job that never ran is due now, whatever its schedule and jitter.
//   - Otherwise it is due at the first occurrence after the one of its last run, plus its [Offset].
//   - If that has passed, however often, it is due once, at now + offset, or at its next regular time if that comes first.
//
// The result depends on now in the first and the third case: call Due when a job has ended, is new or has changed, and keep the result.
// Repeated calls would postpone the job each time.
// The last run belongs to the last occurrence not later than last minus the offset, however long the job had to wait beyond that. If last is
// after now because the clock was set back, it covers at most the next occurrence; a time further ahead is ignored.
func Due(s Schedule, key string, jitter time.Duration, last, anchor, now time.Time) time.Time {
	offset := Offset(key, jitter)
	last, now = last.Round(0), now.Round(0) // drop the monotonic clock: wall clock times count
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

// Deadline returns when the next success is expected after one at lastSuccess, the end of that run: when the job is due for the next
// occurrence. The duration and the waits of a run are not included. The zero time means that no success is expected.
func Deadline(s Schedule, key string, jitter time.Duration, lastSuccess, anchor time.Time) time.Time {
	if s.IsZero() || lastSuccess.IsZero() {
		return time.Time{}
	}
	return s.nextWith(Offset(key, jitter), lastSuccess, anchor)
}

// Times returns the first n times after another at which a job is due by its schedule, within its windows; none for the zero Schedule.
func Times(s Schedule, windows Windows, key string, jitter time.Duration, after, anchor time.Time, n int) []time.Time {
	var times []time.Time
	offset := Offset(key, jitter)
	for len(times) < n {
		if after = s.nextWith(offset, after, anchor); after.IsZero() {
			break
		}
		if after = windows.Opens(after); after.IsZero() {
			break
		}
		times = append(times, after)
	}
	return times
}

// nextWith returns the first occurrence that, delayed by an offset, is after a time.
func (s Schedule) nextWith(offset time.Duration, after, anchor time.Time) time.Time {
	next := s.Next(after.Add(-offset), anchor)
	if next.IsZero() {
		return next
	}
	return next.Add(offset)
}
