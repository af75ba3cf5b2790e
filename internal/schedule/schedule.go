package schedule

import "time"

// Schedule says when a job runs. The zero Schedule means never; all others come from [Parse]. It is read-only, and may be copied.
type Schedule struct {
	spec, zone string
	// Exactly one of these is set, unless the Schedule is zero.
	every time.Duration
	wall  *wall
}

// IsZero reports whether the schedule means never.
func (s Schedule) IsZero() bool { return s.every == 0 && s.wall == nil }

// Every returns the interval of an "@every" schedule, and false for all others, including "@hourly": those follow the wall clock and need no
// anchor.
func (s Schedule) Every() (time.Duration, bool) { return s.every, s.every != 0 }

// Equal reports whether two schedules have the same text and time zone: "@daily" and "0 0 * * *" differ.
func (s Schedule) Equal(other Schedule) bool { return s.spec == other.spec && s.zone == other.zone }

// String returns the schedule as it was written, with single spaces, followed by its time zone unless that is UTC or irrelevant, as with
// "@every"; "never" for the zero Schedule.
func (s Schedule) String() string {
	switch {
	case s.IsZero():
		return "never"
	case s.zone == utc || s.every != 0:
		return s.spec
	}
	return s.spec + " " + s.zone
}

// Next returns the first occurrence after a time, in UTC and on a whole second; the zero time for the zero Schedule.
// Only "@every" uses the anchor: its occurrences are anchor + k × interval for every integer k, negative ones too. The anchor's fraction of
// a second is dropped, so that a store of lower precision shifts no occurrence.
func (s Schedule) Next(after, anchor time.Time) time.Time {
	switch {
	case s.every != 0:
		return nextEvery(s.every, after, anchor)
	case s.wall != nil:
		return s.wall.next(after)
	}
	return time.Time{}
}

// nextEvery counts in whole seconds: the difference of two times may be too long for a time.Duration.
func nextEvery(every time.Duration, after, anchor time.Time) time.Time {
	interval := int64(every / time.Second)
	k := floor(after.Unix()-anchor.Unix(), interval) + 1
	return time.Unix(anchor.Unix()+k*interval, 0).UTC()
}

// floor divides and rounds down, also below zero.
func floor(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
