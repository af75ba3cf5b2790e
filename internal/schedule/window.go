package schedule

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Windows are the times of a week in which jobs may run. The zero Windows is always open; all others come from [Parser.Windows]. It is
// read-only, and may be copied.
type Windows struct {
	text string
	// open are periods of a week on the wall clock, in seconds since Monday, apart from each other and in order. The last one may end in the
	// week after.
	open     []period
	location *time.Location
}

type period struct{ from, to int64 }

// Window is one of them as a config has it.
type Window struct {
	// Days are days on which it opens, such as "mon" or "mon-fri"; none for every day.
	Days []string
	// From and To are times of the day, such as "22:00"; a To that is not later than From is on the day after.
	From, To string
}

const (
	minute = 60
	day    = 24 * 60 * minute
	week   = 7 * day
)

var (
	dayTime  = regexp.MustCompile(`^([0-9]{1,2}):([0-9]{2})$`)
	errClock = errors.New(`is not a time of the day: write hours and minutes from "00:00" to "24:00"`)
)

func days() []string { return []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} }

// ParseDays returns the days, counted from Monday, that "mon" or "fri-mon" names.
func ParseDays(text string) ([]int, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, to := slices.Index(days(), first), slices.Index(days(), last)
	if from < 0 || to < 0 {
		return nil, fmt.Errorf("%s is not a day: write %s, or a range such as mon-fri", quote(text), strings.Join(days(), ", "))
	}
	all := []int{from}
	for from != to {
		from = (from + 1) % len(days())
		all = append(all, from)
	}
	return all, nil
}

// ParseClock returns a time of the day in seconds since midnight.
func ParseClock(text string) (int64, error) {
	m := dayTime.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%s %w", quote(text), errClock)
	}
	hours, _ := strconv.ParseInt(m[1], 10, 64)
	minutes, _ := strconv.ParseInt(m[2], 10, 64)
	at := hours*60*minute + minutes*minute
	if minutes > 59 || at > day {
		return 0, fmt.Errorf("%s %w", quote(text), errClock)
	}
	return at, nil
}

// Windows returns windows in a time zone, "" for UTC; none are always open.
func (p *Parser) Windows(list []Window, timezone string) (Windows, error) {
	location, err := p.Zone(timezone)
	if err != nil || len(list) == 0 {
		return Windows{}, err
	}
	w := Windows{location: location}
	var texts []string
	for _, one := range list {
		periods, err := one.periods()
		if err != nil {
			return Windows{}, err
		}
		w.open = append(w.open, periods...)
		texts = append(texts, strings.TrimSpace(strings.Join(one.Days, ",")+" "+one.From+"-"+one.To))
	}
	w.text = strings.Join(append(texts, location.String()), " ")
	w.open = apart(w.open)
	return w, nil
}

func (w Window) periods() ([]period, error) {
	from, err := ParseClock(w.From)
	if err != nil {
		return nil, err
	}
	to, err := ParseClock(w.To)
	if err != nil {
		return nil, err
	}
	if from == to || from == day {
		return nil, fmt.Errorf("it never opens: %s to %s; write 00:00 to 24:00 for the whole day", w.From, w.To)
	}
	if to < from {
		to += day
	}
	on := w.Days
	if len(on) == 0 {
		on = []string{"mon-sun"}
	}
	var all []period
	for _, text := range on {
		days, err := ParseDays(text)
		if err != nil {
			return nil, err
		}
		for _, d := range days {
			all = append(all, period{int64(d)*day + from, int64(d)*day + to})
		}
	}
	return all, nil
}

// apart joins periods that touch, also over the end of the week.
func apart(all []period) []period {
	slices.SortFunc(all, func(a, b period) int { return cmp.Compare(a.from, b.from) })
	joined := all[:1]
	for _, p := range all[1:] {
		if last := &joined[len(joined)-1]; p.from <= last.to {
			last.to = max(last.to, p.to)
		} else {
			joined = append(joined, p)
		}
	}
	for last := &joined[len(joined)-1]; len(joined) > 1 && joined[0].from+week <= last.to; joined = joined[1:] {
		last.to = max(last.to, joined[0].to+week)
	}
	if p := &joined[0]; len(joined) == 1 && p.to-p.from >= week {
		p.to = p.from + week
	}
	return joined
}

// IsZero reports whether there are no windows: they are always open.
func (w Windows) IsZero() bool { return w.open == nil }

// Equal reports whether two windows were written alike, with the same time zone.
func (w Windows) Equal(other Windows) bool { return w.text == other.text }

// String returns the windows as they were written, with their time zone; "" for none.
func (w Windows) String() string { return w.text }

// mostWeeks limits a search: a window that a change of the clock skips opens a week later.
const mostWeeks = 5

// Opens returns the first time from the given one on at which the windows are open: that time itself if they are.
func (w Windows) Opens(at time.Time) time.Time { return w.change(at, true) }

// Closes returns the first time from the given one on at which the windows are closed; zero if they always are open.
func (w Windows) Closes(at time.Time) time.Time { return w.change(at, false) }

// change returns the first time from the given one on at which the windows are open, or closed. It goes span by span, since within a span the
// wall clock differs from UTC by a constant.
func (w Windows) change(at time.Time, open bool) time.Time {
	if w.IsZero() {
		if open {
			return at
		}
		return time.Time{}
	}
	for from, limit := at.Unix(), at.Unix()+mostWeeks*week; from < limit; {
		s := spanAt(from, w.location)
		is, lasts := w.state(from + s.offset)
		switch {
		case is == open && from == at.Unix():
			return at
		case is == open:
			return time.Unix(from, 0).UTC()
		}
		from = min(from+lasts, s.end)
	}
	return time.Time{}
}

// monday is the first Monday, in seconds since 1970.
const monday = 4 * day

// state reports whether the windows are open at a wall clock time, in seconds since 1970, and for how long that stays so.
func (w Windows) state(wall int64) (open bool, lasts int64) {
	at := wall - monday
	at -= floor(at, week) * week
	lasts = week
	for _, p := range w.open {
		for _, shift := range []int64{-week, 0} {
			from, to := p.from+shift, p.to+shift
			switch {
			case from <= at && at < to:
				return true, to - at
			case from > at:
				lasts = min(lasts, from-at)
			}
		}
		lasts = min(lasts, p.from+week-at)
	}
	return false, lasts
}

// Meets reports whether a run of the schedule, delayed by the jitter at most, ever begins within the windows. For "@every" nobody knows.
func (w Windows) Meets(s Schedule, jitter time.Duration) bool {
	if w.IsZero() || s.wall == nil {
		return true
	}
	const most = 12_000 // runs every minute are more than a week, and daily ones more than 28 years, after which the calendar repeats
	at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for range most {
		if at = s.Next(at, at); at.IsZero() {
			return false
		}
		if !w.Opens(at).After(at.Add(jitter)) {
			return true
		}
	}
	return false
}
