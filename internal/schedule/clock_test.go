package schedule

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestNextWhenClocksChange pins the documented rules to days on which clocks change. What is wanted is in the zone's own time.
func TestNextWhenClocksChange(t *testing.T) {
	tests := []struct {
		name, spec, timezone, after string
		want                        []string
	}{
		{"gap, once a day", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00+01:00",
			[]string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"gap, several times in it", "0,20,40 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00", "2026-03-30T02:20:00+02:00"}},
		{"gap, and its end", "0 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"gap, nothing in it", "30 1,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00",
			[]string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"}},
		{"gap, not on this day", "30 2 30 * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00",
			[]string{"2026-03-30T02:30:00+02:00"}},
		{"gap, hourly", "30 * * * *", "Europe/Berlin", "2026-03-29T01:00:00+01:00",
			[]string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00"}},
		{"gap, every other hour", "0 */2 * * *", "Europe/Berlin", "2026-03-28T23:59:00+01:00",
			[]string{"2026-03-29T00:00:00+01:00", "2026-03-29T04:00:00+02:00"}},
		{"gap, a step of minutes in it", "*/15 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"gap, a step of minutes through it", "*/15 1-5 * * *", "Europe/Berlin", "2026-03-29T01:30:00+01:00",
			[]string{"2026-03-29T01:45:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00"}},
		{"gap, asked at its last moment", "30 2 * * *", "Europe/Berlin", "2026-03-29T01:59:59.999999999+01:00",
			[]string{"2026-03-29T03:00:00+02:00"}},
		{"gap, asked right after it", "30 2 * * *", "Europe/Berlin", "2026-03-29T03:00:00+02:00",
			[]string{"2026-03-30T02:30:00+02:00"}},
		{"gap at midnight", "@daily", "Asia/Beirut", "2026-03-28T12:00:00+02:00",
			[]string{"2026-03-29T01:00:00+03:00", "2026-03-30T00:00:00+03:00"}},
		{"gap at midnight of a Sunday", "@weekly", "Asia/Beirut", "2026-03-28T12:00:00+02:00",
			[]string{"2026-03-29T01:00:00+03:00", "2026-04-05T00:00:00+03:00"}},
		{"gap at midnight, Havana", "5 0 * * *", "America/Havana", "2026-03-07T12:00:00-05:00",
			[]string{"2026-03-08T01:00:00-04:00", "2026-03-09T00:05:00-04:00"}},
		{"gap of half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30",
			[]string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"a day that is skipped", "0 3 * * *", "Pacific/Apia", "2011-12-29T00:00:00-10:00",
			[]string{"2011-12-29T03:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T03:00:00+14:00", "2012-01-01T03:00:00+14:00"}},
		{"a day that is skipped, by hours", "0 */12 * * *", "Pacific/Apia", "2011-12-29T00:00:00-10:00",
			[]string{"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
		{"twice, once a day", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+02:00",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"twice, asked in between", "30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00",
			[]string{"2026-10-26T02:30:00+01:00"}},
		{"twice, the hour after", "0 2,3 * * *", "Europe/Berlin", "2026-10-25T00:00:00+02:00",
			[]string{"2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00"}},
		{"twice, hourly", "@hourly", "Europe/Berlin", "2026-10-25T01:30:00+02:00",
			[]string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"twice, a step of minutes", "*/30 1-5 * * *", "Europe/Berlin", "2026-10-25T02:00:00+02:00",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"twice at midnight", "30 23 * * *", "Asia/Beirut", "2026-10-24T12:00:00+03:00",
			[]string{"2026-10-24T23:30:00+03:00", "2026-10-25T23:30:00+02:00"}},
		{"twice for half an hour", "30,45 1 * * *", "Australia/Lord_Howe", "2026-04-05T00:00:00+11:00",
			[]string{"2026-04-05T01:30:00+11:00", "2026-04-05T01:45:00+11:00", "2026-04-06T01:30:00+10:30"}},
		{"New York", "30 1,2 * * *", "America/New_York", "2026-11-01T00:00:00-04:00",
			[]string{"2026-11-01T01:30:00-04:00", "2026-11-01T02:30:00-05:00"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := mustParse(t, tc.spec, tc.timezone)
			at, err := time.Parse(time.RFC3339Nano, tc.after)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for range tc.want {
				at = s.Next(at, time.Time{})
				got = append(got, at.In(s.wall.location).Format(time.RFC3339))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("occurrences (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCount counts two years, 2025 and 2026 as the zone's wall shows them: 730 days, 17,520 hours, two changes of the clock each way.
func TestCount(t *testing.T) {
	counts := []struct {
		spec string
		want map[string]int // "" for all zones that are not named
	}{
		{"@daily", map[string]int{"": 730}},
		{"30 2 * * *", map[string]int{"": 730}},
		{"30 0,1,2,3 * * *", map[string]int{"": 4 * 730, "Asia/Beirut": 4 * 730, "America/Havana": 4 * 730}},
		{"0 4 * * MON", map[string]int{"": 104}},
		{"@monthly", map[string]int{"": 24}},
		{"@hourly", map[string]int{"": 17520, "Australia/Lord_Howe": 17520 - 2}}, // a gap of half an hour has a full hour in it,
		{"*/15 * * * *", map[string]int{"": 4 * 17520}},
		{"17 */6 * * *", map[string]int{"": 4 * 730, "Asia/Beirut": 4*730 - 2, "America/Havana": 4*730 - 2 + 2, "Africa/Cairo": 4*730 - 2}},
		{"*/20 2 * * *", map[string]int{"": 3 * 730, "Europe/Berlin": 3*730 - 2*2 + 2*3, "America/New_York": 3*730 - 2*2, "Australia/Lord_Howe": 3*730 - 2}},
		{"@every 2h", map[string]int{"": 8760}},
	}
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Beirut", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana"}
	for _, tc := range counts {
		for _, zone := range zones {
			t.Run(tc.spec+" "+zone, func(t *testing.T) {
				s := mustParse(t, tc.spec, zone)
				location, err := new(Parser).Zone(zone)
				if err != nil {
					t.Fatal(err)
				}
				start, end := time.Date(2025, 1, 1, 0, 0, 0, 0, location), time.Date(2027, 1, 1, 0, 0, 0, 0, location)
				got := 0
				for at := s.Next(start.Add(-1), start); at.Before(end); at = s.Next(at, start) {
					got++
				}
				want, ok := tc.want[zone]
				if !ok {
					want = tc.want[""]
				}
				if got != want {
					t.Errorf("ran %d times in two years, want %d", got, want)
				}
			})
		}
	}
}

func TestNextEvery(t *testing.T) {
	anchor := time.Date(2026, 1, 1, 12, 0, 7, 999_999_999, time.UTC)
	at := func(s string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	tests := []struct {
		name, spec, after string
		anchor            time.Time
		want              string
	}{
		{"at the anchor", "@every 90m", "2026-01-01T12:00:07Z", anchor, "2026-01-01T13:30:07Z"},
		{"within the anchor's second", "@every 90m", "2026-01-01T12:00:07.999999999Z", anchor, "2026-01-01T13:30:07Z"},
		{"just before an occurrence", "@every 90m", "2026-01-01T13:30:06.999999999Z", anchor, "2026-01-01T13:30:07Z"},
		{"strictly after", "@every 90m", "2026-01-01T13:30:07Z", anchor, "2026-01-01T15:00:07Z"},
		{"before the anchor", "@every 90m", "2026-01-01T11:59:00Z", anchor, "2026-01-01T12:00:07Z"},
		{"long before the anchor", "@every 24h", "1970-01-01T00:00:00Z", anchor, "1970-01-01T12:00:07Z"},
		{"400 years on", "@every 24h", "2426-01-01T12:00:07Z", anchor, "2426-01-02T12:00:07Z"},
		{"8,000 years on", "@every 10s", "9999-06-01T00:00:00Z", anchor, "9999-06-01T00:00:07Z"},
		{"no anchor", "@every 24h", "2026-01-01T11:59:00Z", time.Time{}, "2026-01-02T00:00:00Z"},
		{"through a change of the clock", "@every 24h", "2026-03-28T23:30:00+01:00", at("2026-03-28T12:00:00+01:00"), "2026-03-29T13:00:00+02:00"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := mustParse(t, tc.spec, "Europe/Berlin")
			if got := s.Next(at(tc.after), tc.anchor); !got.Equal(at(tc.want)) {
				t.Errorf("Next() = %s, want %s", got, tc.want)
			}
		})
	}
}
