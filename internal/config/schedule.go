package config

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/draysync/dray/internal/schedule"
)

// schedules caches the schedules of one file, by spec and time zone: in a long file most are the same.
type schedules struct {
	parser schedule.Parser
	known  map[[2]string]scheduled
	met    map[[3]string]bool
}

// meets caches [schedule.Windows.Meets], which takes longer than reading.
func (s *schedules) meets(w schedule.Windows, when schedule.Schedule, jitter time.Duration) bool {
	key := [3]string{w.String(), when.String(), jitter.String()}
	known, ok := s.met[key]
	if !ok {
		known = w.Meets(when, jitter)
		if s.met == nil {
			s.met = map[[3]string]bool{}
		}
		s.met[key] = known
	}
	return known
}

type scheduled struct {
	schedule schedule.Schedule
	err      error
}

func (s *schedules) parse(spec, timezone string) (schedule.Schedule, error) {
	key := [2]string{spec, timezone}
	result, ok := s.known[key]
	if !ok {
		result.schedule, result.err = s.parser.Parse(spec, timezone)
		if s.known == nil {
			s.known = map[[2]string]scheduled{}
		}
		s.known[key] = result
	}
	return result.schedule, result.err
}

func (s *schedules) checkZone(name string) error {
	if !zoneName.MatchString(name) {
		return fmt.Errorf("%s is not the name of a time zone: write an IANA name such as Europe/Berlin", quote(name))
	}
	_, err := s.parser.Zone(name)
	return err
}

// zoneName matches the names of time zones. Without it, other spellings of a file's path would pass as names.
var zoneName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*$`)

// schedule reads when a mapping runs. own are the options that it does not inherit from the defaults.
func (b *builder) schedule(all, own *options, m *Mapping) {
	m.Priority = all.Priority.value
	jitter, ok := b.span(all.Jitter)
	if err := b.schedules.checkZone(all.Timezone.value); err != nil {
		b.invalid(all.Timezone, err, "the IANA name of a time zone, such as Europe/Berlin")
		return
	}
	s, err := b.schedules.parse(all.Schedule.value, all.Timezone.value)
	if err != nil {
		b.invalid(all.Schedule, err, "a schedule, such as 17 */6 * * *, @daily or @every 90m")
		return
	}
	m.Schedule, m.Jitter = s, jitter
	b.windows(all, own, m)
	if err := schedule.CheckJitter(s, jitter); err != nil && ok {
		b.jitterMistake(all, own, err)
	}
}

// windows reads when runs may begin.
func (b *builder) windows(all, own *options, m *Mapping) {
	m.CutAtEnd = all.WindowEnd.value == "cut"
	var list []schedule.Window
	valid := true
	check := func(t text, err error, wanted string) {
		if valid = valid && t.set && err == nil; err != nil && t.set {
			b.invalid(t, err, wanted)
		}
	}
	for _, w := range all.Windows.items {
		for _, t := range w.Days.items {
			_, err := schedule.ParseDays(t.value)
			check(t, err, "a day such as mon, or a range such as mon-fri")
		}
		for _, t := range []text{w.From, w.To} {
			_, err := schedule.ParseClock(t.value)
			check(t, err, "a time of the day such as 22:00")
		}
		one := schedule.Window{Days: values(w.Days), From: w.From.value, To: w.To.value}
		if _, err := b.schedules.parser.Windows([]schedule.Window{one}, ""); err != nil && valid {
			b.fail(w.origin, err, "")
			valid = false
		}
		list = append(list, one)
	}
	if !valid {
		return
	}
	m.Windows, _ = b.schedules.parser.Windows(list, all.Timezone.value) // each has been checked
	if !b.schedules.meets(m.Windows, m.Schedule, m.Jitter) {
		at := all.Windows.origin
		if own.Schedule.set && !own.Windows.set {
			at = all.Schedule.origin
		}
		b.fail(at, errors.New("no run of the schedule is ever within the windows"), "every run would wait for a window: have the schedule and the windows meet")
	}
}

// jitterMistake blames the mapping's own key if the other one is from the defaults, which may suit other mappings.
func (b *builder) jitterMistake(all, own *options, err error) {
	at, hint := all.Jitter, ""
	if own.Schedule.set && !own.Jitter.set {
		at, hint = all.Schedule, fmt.Sprintf("the jitter is that of line %d: give this mapping one of its own, 0s for none", all.Jitter.pos.Line)
	}
	if all.Jitter.expanded() || all.Schedule.expanded() {
		err = errors.New("the jitter is longer than the time between two runs of the schedule")
	}
	b.fail(at.origin, err, hint)
}

// span reads a duration that may be zero, and reports whether it is valid.
func (b *builder) span(t text) (time.Duration, bool) {
	d, err := time.ParseDuration(t.value)
	if err != nil || d < 0 || t.value[0] == '-' {
		b.invalid(t, fmt.Errorf("%s is not a duration: write a number with a unit, such as 90s, 30m or 1h30m, or 0s", quote(t.raw)), "a duration such as 30m")
		return 0, false
	}
	return d, true
}

// maxGrace is the longest that a service manager should have to wait.
const maxGrace = 10 * time.Minute

func (b *builder) grace(t text) time.Duration {
	d, _ := b.span(t)
	if d > maxGrace {
		b.invalid(t, fmt.Errorf("%s is too long: write at most 10m", quote(t.raw)), "a duration of at most 10m")
	}
	return d
}
