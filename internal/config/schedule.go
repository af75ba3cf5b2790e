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
	if err := schedule.CheckJitter(s, jitter); err != nil && ok {
		b.jitterMistake(all, own, err)
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
