package daemon

import (
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/schedule"
)

// Over two years every job runs as often as is documented, whatever the clocks on the wall do: a daily job once on each day, one of each
// hour or quarter in each that passes, and none twice at once. The years 2000 and 2001 have 731 days.
func TestTwoYears(t *testing.T) {
	if testing.Short() {
		t.Skip("plays 80,000 runs")
	}
	const days = 731
	specs := map[string]struct {
		runs  int
		daily bool
	}{
		"30 2 * * *":   {days, true}, // within the hour that is left out or comes twice in Europe and America
		"0 0 * * *":    {days, true}, // as in Lebanon
		"59 23 * * *":  {days, true},
		"0 12 * * *":   {days, true},
		"15 * * * *":   {days * 24, false},
		"*/15 * * * *": {days * 96, false},
		"@every 6h":    {days * 4, false},
		"@daily":       {days, true},
		"0 3 1 * *":    {24, false},
		"30 2 * * 0":   {105, false}, // Sundays, on which clocks are changed; the first is January 2nd, 2000
	}
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Asia/Beirut"} {
		if zone != "Europe/Berlin" && !fulltest.AllRounds() {
			continue
		}
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			location, err := time.LoadLocation(zone)
			if err != nil {
				t.Fatal(err)
			}
			var jobs []Job
			for spec := range specs {
				s, err := schedule.Parse(spec, zone)
				if err != nil {
					t.Fatal(err)
				}
				jobs = append(jobs, Job{Name: spec, Fingerprint: spec, Schedule: s})
			}
			inBubble(t, config{jobs: jobs, parallel: len(jobs), takes: 2 * minute}, func(t *testing.T, s *stand) {
				end := time.Date(2002, 1, 1, 0, 0, 0, 0, location)
				// What is to be seen begins with the year in that zone; everything runs once before, as it is new.
				start := time.Date(2000, 1, 1, 0, 0, 0, 0, location)
				time.Sleep(time.Until(end) - time.Second)
				for spec, want := range specs {
					dates := map[string]int{}
					n := 0
					for _, at := range s.runs(spec)[1:] {
						when := epoch.Add(at).In(location)
						if !when.Before(start) {
							n++
							dates[when.Format(time.DateOnly)]++
						}
					}
					missed := 0 // what lies before the bubble began, or is the run that was due at once
					if start.Before(epoch) || start.Equal(epoch) {
						missed = countBefore(spec, start, epoch)
					}
					if n < want.runs-missed-1 || n > want.runs {
						t.Errorf("%s ran %d times, want %d, or %d fewer", spec, n, want.runs, missed)
					}
					for date, times := range dates {
						if want.daily && times != 1 {
							t.Errorf("%s ran %d times on %s", spec, times, date)
						}
					}
				}
			})
		})
	}
}

// countBefore is the most that a schedule can have been due in a time.
func countBefore(spec string, from, to time.Time) int {
	s, err := schedule.Parse(spec, from.Location().String())
	if err != nil {
		return 0
	}
	n := 0
	for at := s.Next(from.Add(-time.Second), from); !at.After(to); at = s.Next(at, from) {
		n++
	}
	return n
}
