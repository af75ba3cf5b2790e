package schedule

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
)

// clock is what the wall shows, minute by minute as time passes.
type clock struct {
	start   time.Time
	minutes []face
}

// face is one minute of a clock.
type face struct {
	// wall counts the minutes of the calendar, as if no clock were ever changed.
	wall                              int64
	minute, hour, day, month, weekday int8
}

func faceOf(wall int64) face {
	t := time.Unix(60*wall, 0).UTC()
	return face{wall, int8(t.Minute()), int8(t.Hour()), int8(t.Day()), int8(t.Month()), int8(t.Weekday())}
}

func clockOf(start, end time.Time) clock {
	c := clock{start: start, minutes: make([]face, 0, 2*366*24*60)}
	for t := start; t.Before(end); t = t.Add(time.Minute) {
		_, offset := t.Zone()
		c.minutes = append(c.minutes, faceOf((t.Unix()+int64(offset))/60))
	}
	return c
}

// model says what is documented, one minute after the other, without a thought for speed or for how a zone changes.
type model struct {
	spec             string
	makesUp, repeats bool
	matches          func(f face) bool
}

// occurrences returns the minutes of a clock at which a model runs.
func (m model) occurrences(c clock) []int {
	var all []int
	latest := c.minutes[0].wall - 1
	for i, f := range c.minutes {
		run := m.matches(f) && (m.repeats || f.wall > latest)
		for skipped := latest + 1; m.makesUp && !run && i > 0 && skipped < f.wall; skipped++ {
			run = m.matches(faceOf(skipped))
		}
		if run {
			all = append(all, i)
		}
		latest = max(latest, f.wall)
	}
	return all
}

func models() []model {
	return []model{
		{"* * * * *", false, true, func(face) bool { return true }},
		{"*/15 * * * *", false, true, func(f face) bool { return f.minute%15 == 0 }},
		{"7-59/13 * * * *", false, true, func(f face) bool { return f.minute >= 7 && (f.minute-7)%13 == 0 }},
		{"@hourly", false, true, func(f face) bool { return f.minute == 0 }},
		{"30 */2 * * *", false, true, func(f face) bool { return f.minute == 30 && f.hour%2 == 0 }},
		{"17 */6 * * *", false, true, func(f face) bool { return f.minute == 17 && f.hour%6 == 0 }},
		{"*/10 2 * * *", true, true, func(f face) bool { return f.minute%10 == 0 && f.hour == 2 }},
		{"*/15 0-5 * * *", true, true, func(f face) bool { return f.minute%15 == 0 && f.hour <= 5 }},
		{"* 1 * * SUN", true, true, func(f face) bool { return f.hour == 1 && f.weekday == 0 }},
		{"@daily", true, false, func(f face) bool { return f.minute == 0 && f.hour == 0 }},
		{"59 23 * * *", true, false, func(f face) bool { return f.minute == 59 && f.hour == 23 }},
		{"30 2 * * *", true, false, func(f face) bool { return f.minute == 30 && f.hour == 2 }},
		{"0,30 0-4 * * *", true, false, func(f face) bool { return f.minute%30 == 0 && f.hour <= 4 }},
		{"5/10 0-23 * * *", true, false, func(f face) bool { return f.minute >= 5 && (f.minute-5)%10 == 0 }},
		{"45 1 13 * FRI", true, false, func(f face) bool { return f.minute == 45 && f.hour == 1 && (f.day == 13 || f.weekday == 5) }},
		{"0 1 * 3,10 7", true, false, func(f face) bool {
			return f.minute == 0 && f.hour == 1 && (f.month == 3 || f.month == 10) && f.weekday == 0
		}},
		{"0 0 29-31 * *", true, false, func(f face) bool { return f.minute == 0 && f.hour == 0 && f.day >= 29 }},
		{"15 3 30 12 *", true, false, func(f face) bool { return f.minute == 15 && f.hour == 3 && f.day == 30 && f.month == 12 }},
	}
}

// TestNextIsTheModel compares two years of each schedule in zones that change in every way there is.
func TestNextIsTheModel(t *testing.T) {
	if testing.Short() {
		t.Skip("plays two years of each schedule")
	}
	few := []string{"UTC", "Europe/Berlin", "Pacific/Apia", "Australia/Lord_Howe", "America/Havana"}
	for zone, year := range map[string]int{
		"UTC": 2025, "Europe/Berlin": 2025, "America/New_York": 2025, "Asia/Beirut": 2022, "Australia/Lord_Howe": 2025, "Africa/Cairo": 2023,
		"America/Havana": 2025, "Pacific/Apia": 2011, "America/Sao_Paulo": 2017, "Antarctica/Troll": 2025, "Africa/Casablanca": 2025, "Asia/Kathmandu": 1985,
		"Pacific/Kwajalein": 1969, "Europe/Dublin": 2039, "Australia/Sydney": 2040,
	} {
		if !fulltest.AllRounds() && !slices.Contains(few, zone) {
			continue
		}
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		c := clockOf(time.Date(year, 1, 1, 0, 0, 0, 0, location), time.Date(year+2, 1, 1, 0, 0, 0, 0, location))
		for _, m := range models() {
			t.Run(fmt.Sprintf("%s %s", zone, m.spec), func(t *testing.T) {
				s := mustParse(t, m.spec, zone)
				at := c.start.Add(-1)
				for _, minute := range m.occurrences(c) {
					want := c.start.Add(time.Duration(minute) * time.Minute)
					if at = s.Next(at, time.Time{}); !at.Equal(want) {
						t.Fatalf("Next() = %s, want %s", at.In(location), want)
					}
				}
				if at = s.Next(at, time.Time{}); at.Before(c.start.Add(time.Duration(len(c.minutes)) * time.Minute)) {
					t.Errorf("Next() = %s, want nothing any more", at.In(location))
				}
			})
		}
	}
}
