package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/robfig/cron/v3"
)

// Parser parses many schedules and reads each time zone once. The zero value is ready. It is not safe for concurrent use.
type Parser struct {
	zones map[string]*time.Location
}

// Parse parses a schedule; "" is the zero Schedule. The timezone is an IANA name, "" for UTC. An error is about the text and does not name
// the config key, unless it begins with "timezone".
func Parse(spec, timezone string) (Schedule, error) { return new(Parser).Parse(spec, timezone) }

// Parse is like the function [Parse].
func (p *Parser) Parse(spec, timezone string) (Schedule, error) {
	location, err := p.Zone(timezone)
	if err != nil {
		return Schedule{}, fmt.Errorf("timezone %w", err)
	}
	words := strings.Fields(spec)
	switch {
	case spec == "":
		return Schedule{}, nil
	case len(words) == 0:
		return Schedule{}, errors.New(`is blank: write "" for no schedule`)
	case len(spec) > longest || !utf8.ValidString(spec):
		return Schedule{}, fmt.Errorf("is not a schedule: %s", quote(spec))
	}
	s := Schedule{spec: strings.Join(words, " "), zone: location.String()}
	if words[0] == "@every" {
		s.every, err = parseEvery(words[1:])
	} else {
		s.wall, err = parseWall(words)
	}
	if err != nil {
		return Schedule{}, err
	}
	if s.wall != nil {
		s.wall.location = location
	}
	return s, nil
}

// longest limits a text, in bytes. Each field may be written out as a list.
const longest = 1000

// The bounds of "@every".
const (
	shortestEvery = 10 * time.Second
	longestEvery  = 10 * 365 * 24 * time.Hour
)

func parseEvery(words []string) (time.Duration, error) {
	if len(words) == 0 {
		return 0, errors.New(`"@every" needs a duration, such as "@every 90m"`)
	}
	if len(words) > 1 {
		return 0, fmt.Errorf("%s: write the duration as one word, such as %s", quote("@every "+strings.Join(words, " ")), quote("@every "+strings.Join(words, "")))
	}
	spec := quote("@every " + words[0])
	every, err := time.ParseDuration(words[0])
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %s is not a duration: %s", spec, quote(words[0]), durationHint(words[0]))
	case every < shortestEvery:
		return 0, fmt.Errorf(`%s is too short: "@every 10s" is the shortest`, spec)
	case every > longestEvery:
		return 0, fmt.Errorf(`%s is too long: "@every 87600h" is the longest`, spec)
	case every%time.Second != 0:
		return 0, fmt.Errorf("%s: write whole seconds", spec)
	}
	return every, nil
}

// durationHint says what to write instead of an invalid duration, in particular days and weeks.
func durationHint(text string) string {
	hours := map[byte]int{'d': 24, 'w': 7 * 24}[text[len(text)-1]]
	if n, err := strconv.Atoi(text[:len(text)-1]); err == nil && hours != 0 && 0 < n && n < 10_000 {
		return fmt.Sprintf(`write "%dh"`, n*hours)
	}
	return "write hours, minutes and seconds, such as 90m or 1h30m"
}

// parseWall parses five fields, or a word for them.
func parseWall(words []string) (*wall, error) {
	if strings.HasPrefix(words[0], "@") {
		fields, err := shorthand(strings.Join(words, " "))
		if err != nil {
			return nil, err
		}
		words = strings.Fields(fields)
	}
	if err := checkWords(words); err != nil {
		return nil, err
	}
	var fields [5]field
	for i := range fields {
		var err error
		if fields[i], err = parseField(kinds()[i], words[i]); err != nil {
			return nil, err
		}
	}
	parsed, err := guarded(fields)
	if err != nil {
		return nil, err
	}
	const star = 1 << 63 // the parser's mark of a "*"
	w := &wall{
		minute: parsed.Minute &^ star, hour: parsed.Hour &^ star, day: parsed.Dom &^ star, month: parsed.Month &^ star, weekday: parsed.Dow &^ star,
		either:  !fields[2].whole && !fields[4].whole,
		makesUp: !fields[1].star,
		repeats: fields[0].star || fields[1].star,
	}
	return w, w.check(words)
}

// shorthand returns the five fields for a word.
func shorthand(word string) (string, error) {
	switch word {
	case "@hourly":
		return "0 * * * *", nil
	case "@daily", "@midnight":
		return "0 0 * * *", nil
	case "@weekly":
		return "0 0 * * 0", nil
	case "@monthly":
		return "0 0 1 * *", nil
	case "@yearly", "@annually":
		return "0 0 1 1 *", nil
	case "@reboot":
		return "", errors.New(`"@reboot" is not supported: a mapping without a schedule runs once when it is new, and again when it changes`)
	}
	return "", fmt.Errorf("%s is not known: write @hourly, @daily, @weekly, @monthly, @yearly, or @every and a duration", quote(word))
}

func checkWords(words []string) error {
	first := words[0]
	if name, zone, ok := strings.Cut(first, "="); ok && (strings.EqualFold(name, "tz") || strings.EqualFold(name, "cron_tz")) {
		if zone == "" {
			zone = "Europe/Berlin"
		}
		return fmt.Errorf("%s: the time zone has a key of its own: write timezone: %s", quote(first), quote(zone))
	}
	const form = "minute, hour, day of the month, month, day of the week"
	switch n := len(words); n {
	case 5:
		return nil
	case 1:
		if _, err := shorthand("@" + first); err == nil {
			return fmt.Errorf("%s is not known: write @%s", quote(first), first)
		}
		if _, err := time.ParseDuration(first); err == nil {
			return fmt.Errorf("%s is not known: write @every %s", quote(first), first)
		}
		return fmt.Errorf("has 1 field instead of 5 (%s)", form)
	case 6:
		return fmt.Errorf("has 6 fields instead of 5 (%s): leave out the seconds or the year", form)
	default:
		return fmt.Errorf("has %d fields instead of 5 (%s)", n, form)
	}
}

// guarded calls the parser. Its input is checked, so it should not fail; if it panics anyway, the process survives.
func guarded(fields [5]field) (parsed *cron.SpecSchedule, err error) {
	texts := make([]string, len(fields))
	for i, f := range fields {
		texts[i] = f.text
	}
	spec := strings.Join(texts, " ")
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s cannot be parsed: %v", quote(spec), r)
		}
	}()
	s, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(spec)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be parsed: %w", quote(spec), err)
	}
	parsed, ok := s.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("%s cannot be parsed", quote(spec))
	}
	return parsed, nil
}

// check refuses schedules that never run, and those on which crons disagree.
func (w *wall) check(words []string) error {
	if day, weekday := words[2], words[4]; w.either && (strings.Contains(day, "*") || strings.Contains(weekday, "*")) {
		return fmt.Errorf(`%s for the day of the month and %s for that of the week: crons disagree whether a day must match one of them or both: `+
			`write the step without "*", such as 1-31/2, for one of them`, quote(day), quote(weekday))
	}
	if w.either {
		return nil
	}
	for month := time.January; month <= time.December; month++ {
		length := time.Date(2000, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
		if w.month>>month&1 != 0 && w.day&(1<<(length+1)-1) != 0 {
			return nil
		}
	}
	return fmt.Errorf("never runs: no month of %s has a day %s", quote(words[3]), quote(words[2]))
}

// quote quotes a text for an error, shortened if it is long.
func quote(text string) string {
	const most = 60
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strconv.Quote(text)
}
