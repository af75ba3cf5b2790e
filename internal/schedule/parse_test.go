package schedule

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustParse(tb testing.TB, spec, timezone string) Schedule {
	tb.Helper()
	s, err := Parse(spec, timezone)
	if err != nil {
		tb.Fatalf("Parse(%q, %q): %v", spec, timezone, err)
	}
	return s
}

// firings returns the first n occurrences after a time.
func firings(s Schedule, after time.Time, n int) []string {
	var all []string
	for range n {
		after = s.Next(after, time.Time{})
		all = append(all, after.Format("Mon 2006-01-02 15:04"))
	}
	return all
}

func TestParse(t *testing.T) {
	after := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // a Thursday
	tests := []struct {
		spec, timezone, text string
		want                 []string
	}{
		{"17 */6 * * *", "", "17 */6 * * *", []string{"Thu 2026-01-01 00:17", "Thu 2026-01-01 06:17", "Thu 2026-01-01 12:17"}},
		{"  05   03\t* * * ", "UTC", "05 03 * * *", []string{"Thu 2026-01-01 03:05", "Fri 2026-01-02 03:05"}},
		{"0 3 * * *", "Europe/Berlin", "0 3 * * * Europe/Berlin", []string{"Thu 2026-01-01 02:00", "Fri 2026-01-02 02:00"}},
		{"@hourly", "", "@hourly", []string{"Thu 2026-01-01 01:00", "Thu 2026-01-01 02:00"}},
		{"@daily", "", "@daily", []string{"Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00"}},
		{"@midnight", "", "@midnight", []string{"Fri 2026-01-02 00:00"}},
		{"@weekly", "", "@weekly", []string{"Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"}},
		{"@monthly", "", "@monthly", []string{"Sun 2026-02-01 00:00", "Sun 2026-03-01 00:00"}},
		{"@yearly", "", "@yearly", []string{"Fri 2027-01-01 00:00", "Sat 2028-01-01 00:00"}},
		{"@annually", "", "@annually", []string{"Fri 2027-01-01 00:00"}},
		{" @daily ", "", "@daily", []string{"Fri 2026-01-02 00:00"}},
		{"0 0 * * 7", "", "0 0 * * 7", []string{"Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"}},
		{"0 0 * * 5-7", "", "0 0 * * 5-7", []string{"Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00", "Sun 2026-01-04 00:00", "Fri 2026-01-09 00:00"}},
		{"0 0 * * 1-7/3", "", "0 0 * * 1-7/3", []string{"Sun 2026-01-04 00:00", "Mon 2026-01-05 00:00", "Thu 2026-01-08 00:00"}},
		{"0 0 * * FRI-SUN", "", "0 0 * * FRI-SUN", []string{"Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00", "Sun 2026-01-04 00:00", "Fri 2026-01-09 00:00"}},
		{"0 0 * * mon,Wed", "", "0 0 * * mon,Wed", []string{"Mon 2026-01-05 00:00", "Wed 2026-01-07 00:00", "Mon 2026-01-12 00:00"}},
		{"0 0 1 MAR-may *", "", "0 0 1 MAR-may *", []string{"Sun 2026-03-01 00:00", "Wed 2026-04-01 00:00", "Fri 2026-05-01 00:00", "Mon 2027-03-01 00:00"}},
		{"0 0 13 * FRI", "", "0 0 13 * FRI", []string{"Fri 2026-01-02 00:00", "Fri 2026-01-09 00:00", "Tue 2026-01-13 00:00"}},
		{"0 0 */15 * *", "", "0 0 */15 * *", []string{"Fri 2026-01-16 00:00", "Sat 2026-01-31 00:00", "Sun 2026-02-01 00:00"}},
		{"0 0 */1 * MON", "", "0 0 */1 * MON", []string{"Mon 2026-01-05 00:00", "Mon 2026-01-12 00:00"}},
		{"5/20 4 * * *", "", "5/20 4 * * *", []string{"Thu 2026-01-01 04:05", "Thu 2026-01-01 04:25", "Thu 2026-01-01 04:45", "Fri 2026-01-02 04:05"}},
		{"10-30/10,50 4 * * *", "", "10-30/10,50 4 * * *", []string{"Thu 2026-01-01 04:10", "Thu 2026-01-01 04:20", "Thu 2026-01-01 04:30", "Thu 2026-01-01 04:50"}},
		{"0 0 29 2 *", "", "0 0 29 2 *", []string{"Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00"}},
		{"0 0 30 2 MON", "", "0 0 30 2 MON", []string{"Mon 2026-02-02 00:00", "Mon 2026-02-09 00:00"}},
		{"0 0 31 2,3 *", "", "0 0 31 2,3 *", []string{"Tue 2026-03-31 00:00", "Wed 2027-03-31 00:00"}},
	}
	for _, tc := range tests {
		t.Run(tc.spec, func(t *testing.T) {
			s := mustParse(t, tc.spec, tc.timezone)
			if s.String() != tc.text {
				t.Errorf("String() = %q, want %q", s, tc.text)
			}
			if diff := cmp.Diff(tc.want, firings(s, after, len(tc.want))); diff != "" {
				t.Errorf("occurrences (-want +got):\n%s", diff)
			}
			if _, ok := s.Every(); ok || s.IsZero() {
				t.Errorf("Every() = %t, IsZero() = %t, want neither", ok, s.IsZero())
			}
		})
	}
}

func TestParseNames(t *testing.T) {
	after := time.Date(2025, 12, 31, 23, 59, 0, 0, time.UTC)
	for month := time.January; month <= time.December; month++ {
		s := mustParse(t, "0 0 1 "+month.String()[:3]+" *", "")
		if got := s.Next(after, after).Month(); got != month {
			t.Errorf("%s runs in %s", s, got)
		}
	}
	for day := time.Sunday; day <= time.Saturday; day++ {
		s := mustParse(t, "0 0 * * "+strings.ToUpper(day.String()[:3]), "")
		if got := s.Next(after, after).Weekday(); got != day {
			t.Errorf("%s runs on %s", s, got)
		}
	}
}

func TestParseEvery(t *testing.T) {
	for spec, want := range map[string]time.Duration{
		"@every 90m": 90 * time.Minute, "@every 10s": 10 * time.Second, " @every   1h30m ": 90 * time.Minute, "@every 1.5h": 90 * time.Minute,
		"@every 87600h": 87600 * time.Hour, "@every 60000ms": time.Minute,
	} {
		s := mustParse(t, spec, "Europe/Berlin")
		if every, ok := s.Every(); every != want || !ok || s.IsZero() {
			t.Errorf("%q: Every() = %s, %t, want %s", spec, every, ok, want)
		}
		if want := strings.Join(strings.Fields(spec), " "); s.String() != want {
			t.Errorf("%q: String() = %q, want %q", spec, s, want)
		}
	}
}

func TestZero(t *testing.T) {
	s := mustParse(t, "", "Europe/Berlin")
	if _, every := s.Every(); !s.IsZero() || every || s.String() != "never" || !s.Equal(Schedule{}) {
		t.Errorf("%#v is not the zero Schedule", s)
	}
	if next := s.Next(time.Unix(0, 0), time.Unix(0, 0)); !next.IsZero() {
		t.Errorf("Next() = %s, want never", next)
	}
}

func TestEqual(t *testing.T) {
	s := mustParse(t, "0 3 * * *", "Europe/Berlin")
	for _, tc := range []struct {
		spec, timezone string
		want           bool
	}{
		{" 0 3  * * *", "Europe/Berlin", true}, {"0 3 * * *", "Europe/Paris", false}, {"1 3 * * *", "Europe/Berlin", false},
	} {
		if other := mustParse(t, tc.spec, tc.timezone); s.Equal(other) != tc.want {
			t.Errorf("%s and %s: Equal() = %t", s, other, !tc.want)
		}
	}
}

// TestParserReadsZonesOnce also is what keeps 10,000 jobs small.
func TestParserReadsZonesOnce(t *testing.T) {
	var p Parser
	a, errA := p.Parse("0 3 * * *", "Europe/Berlin")
	b, errB := p.Parse("0 4 * * *", "Europe/Berlin")
	if errA != nil || errB != nil || a.wall.location != b.wall.location {
		t.Errorf("%v, %v; two locations for one zone", errA, errB)
	}
}

func TestParseRefuses(t *testing.T) {
	days := "crons disagree whether a day must match one of them or both: write the step without \"*\", such as 1-31/2, for one of them"
	form := "(minute, hour, day of the month, month, day of the week)"
	tests := []struct{ spec, timezone, want string }{
		{"   ", "", `is blank: write "" for no schedule`},
		{"hourly", "", `"hourly" is not known: write @hourly`},
		{"6h", "", `"6h" is not known: write @every 6h`},
		{"never", "", "has 1 field instead of 5 " + form},
		{"* * * *", "", "has 4 fields instead of 5 " + form},
		{"* * * * * * *", "", "has 7 fields instead of 5 " + form},
		{"0 30 2 * * *", "", "has 6 fields instead of 5 " + form + ": leave out the seconds or the year"},
		{"\xff * * * *", "", `is not a schedule: "\xff * * * *"`},
		{strings.Repeat("1,", 500) + "1 * * * *", "", `is not a schedule: "` + strings.Repeat("1,", 30) + `…"`},
		{"TZ=Asia/Tokyo 0 3 * * *", "", `"TZ=Asia/Tokyo": the time zone has a key of its own: write timezone: "Asia/Tokyo"`},
		{"CRON_TZ=UTC @daily", "", `"CRON_TZ=UTC": the time zone has a key of its own: write timezone: "UTC"`},
		{"TZ=", "", `"TZ=": the time zone has a key of its own: write timezone: "Europe/Berlin"`},
		{"cron_tz=UTC", "", `"cron_tz=UTC": the time zone has a key of its own: write timezone: "UTC"`},
		{"@reboot", "", `"@reboot" is not supported: a mapping without a schedule runs once when it is new, and again when it changes`},
		{"@Daily", "", `"@Daily" is not known: write @hourly, @daily, @weekly, @monthly, @yearly, or @every and a duration`},
		{"@daily 3", "", `"@daily 3" is not known: write @hourly, @daily, @weekly, @monthly, @yearly, or @every and a duration`},
		{"@every", "", `"@every" needs a duration, such as "@every 90m"`},
		{"@every 1h 30m", "", `"@every 1h 30m": write the duration as one word, such as "@every 1h30m"`},
		{"@every 1d", "", `"@every 1d": "1d" is not a duration: write "24h"`},
		{"@every 2w", "", `"@every 2w": "2w" is not a duration: write "336h"`},
		{"@every d", "", `"@every d": "d" is not a duration: write hours, minutes and seconds, such as 90m or 1h30m`},
		{"@every 90", "", `"@every 90": "90" is not a duration: write hours, minutes and seconds, such as 90m or 1h30m`},
		{"@every -1h", "", `"@every -1h" is too short: "@every 10s" is the shortest`},
		{"@every 0s", "", `"@every 0s" is too short: "@every 10s" is the shortest`},
		{"@every 1ns", "", `"@every 1ns" is too short: "@every 10s" is the shortest`},
		{"@every 10500ms", "", `"@every 10500ms": write whole seconds`},
		{"@every 100000h", "", `"@every 100000h" is too long: "@every 87600h" is the longest`},
		{"*/90 * * * *", "", `minute "*/90": a step of 90 is wider than the hour: write 0 for once an hour, or "@every 90m"`},
		{"*/60 * * * *", "", `minute "*/60": a step of 60 is wider than the hour: write 0 for once an hour, or "@every 60m"`},
		{"0 */36 * * *", "", `hour "*/36": a step of 36 is wider than the range: write 0, or "@every 36h"`},
		{"0 0 */45 * *", "", `day of the month "*/45": a step of 45 is wider than the range: write 1, or "@every 1080h"`},
		{"0 0 1 */12 *", "", `month "*/12": a step of 12 from 1 leaves the range up to 12 at once: write 1 without a step`},
		{"0 0 * * */7", "", `day of the week "*/7": a step of 7 from 0 leaves the range up to 6 at once: write 0 without a step`},
		{"0 8-10/5 * * *", "", `hour "8-10/5": a step of 5 from 8 leaves the range up to 10 at once: write 8 without a step`},
		{"*/0 * * * *", "", `minute "*/0": "0" is not a step: write a number from 1 on`},
		{"*/ * * * *", "", `minute "*/": "" is not a step: write a number from 1 on`},
		{"*/-5 * * * *", "", `minute "*/-5": "-5" is not a step: write a number from 1 on`},
		{"1/2/3 * * * *", "", `minute "1/2/3": "2/3" is not a step: write a number from 1 on`},
		{"*/99999999999999999999 * * * *", "", `minute "*/99999999999999999999": "99999999999999999999" is not a step: write a number from 1 on`},
		{"60 * * * *", "", `minute "60": 60 is out of range: write 0 to 59`},
		{"0 24 * * *", "", `hour "24": 24 is out of range: write 0 to 23`},
		{"0 0 0 * *", "", `day of the month "0": 0 is out of range: write 1 to 31`},
		{"0 0 1 13 *", "", `month "13": 13 is out of range: write 1 to 12`},
		{"0 0 * * 8", "", `day of the week "8": 8 is out of range: write 0 to 7`},
		{"+5 * * * *", "", `minute "+5": "+5" is not a number: write 0 to 59`},
		{"-5 * * * *", "", `minute "-5": "-5" is not a range: write it as 0-59`},
		{"1- * * * *", "", `minute "1-": "1-" is not a range: write it as 0-59`},
		{"1-2-3 * * * *", "", `minute "1-2-3": "2-3" is not a number: write 0 to 59`},
		{"*-5 * * * *", "", `minute "*-5": "*" is not a number: write 0 to 59`},
		{"1.5 * * * *", "", `minute "1.5": "1.5" is not a number: write 0 to 59`},
		{"x * * * *", "", `minute "x": "x" is not a number: write 0 to 59`},
		{", * * * *", "", `minute ",": an entry of the list is empty`},
		{"1,,2 * * * *", "", `minute "1,,2": an entry of the list is empty`},
		{"*,5 * * * *", "", `minute "*,5": "*" stands for all there is: leave out the rest`},
		{"0 22-2 * * *", "", `hour "22-2": the range "22-2" runs backwards: write "22-23,0-2"`},
		{"0 0 * * FRI-MON", "", `day of the week "FRI-MON": the range "FRI-MON" runs backwards: write "5-6,0-1"`},
		{"0 0 * * 6-2", "", `day of the week "6-2": the range "6-2" runs backwards: write "6,0-2"`},
		{"0 0 * * 7-2", "", `day of the week "7-2": the range "7-2" runs backwards: write "0-2"`},
		{"0 0 * * 5-0", "", `day of the week "5-0": the range "5-0" runs backwards: write "5-6,0"`},
		{"0 0 ? * MON", "", `day of the month "?": "?" is not supported: write "*"`},
		{"0 0 L * *", "", `day of the month "L": "L" is not supported: write the number of a day, such as 1 or 28`},
		{"0 0 LW * *", "", `day of the month "LW": "LW" is not supported: write the number of a day, such as 1 or 28`},
		{"0 0 15W * *", "", `day of the month "15W": "15W" is not supported: write the number of a day, such as 1 or 28`},
		{"0 0 * * 5L", "", `day of the week "5L": "5L" is not supported: write the number of a day, such as 1 or 28`},
		{"0 0 * * MON#2", "", `day of the week "MON#2": "MON#2" is not supported: write the day of every week, or the number of a day of the month`},
		{"H 3 * * *", "", `minute "H": "H" is not supported: write a number, and spread the runs with the key jitter`},
		{"0~30 3 * * *", "", `minute "0~30": "0~30" is not supported: write a number, and spread the runs with the key jitter`},
		{"0 0 * * Monday", "", `day of the week "Monday": "Monday" is not known: write MON`},
		{"0 0 1 april *", "", `month "april": "april" is not known: write APR`},
		{"0 0 * * MO", "", `day of the week "MO": "MO" is not known: write 0 to 7, or a name such as MON`},
		{"0 0 1 MON *", "", `month "MON": "MON" is not known: write 1 to 12, or a name such as FEB`},
		{"0 0 * * ONT", "", `day of the week "ONT": "ONT" is not known: write 0 to 7, or a name such as MON`},
		{"30 2 30 2 *", "", `never runs: no month of "2" has a day "30"`},
		{"0 0 31 APR,6,9,11 *", "", `never runs: no month of "APR,6,9,11" has a day "31"`},
		{"0 0 */2 * MON", "", `"*/2" for the day of the month and "MON" for that of the week: ` + days},
		{"0 0 1 * */2", "", `"1" for the day of the month and "*/2" for that of the week: ` + days},
		{"@daily", "Local", `timezone "Local" differs from machine to machine: write the name of a zone, such as Europe/Berlin`},
		{"", "localtime", `timezone "localtime" differs from machine to machine: write the name of a zone, such as Europe/Berlin`},
		{"@daily", "Europe/Bonn", `timezone "Europe/Bonn" is not a known time zone: write an IANA name such as Europe/Berlin or America/New_York`},
		{"@daily", "../etc/passwd", `timezone "../etc/passwd" is not a known time zone: write an IANA name such as Europe/Berlin or America/New_York`},
		{"@daily", "Europe", `timezone "Europe" is not a known time zone: write an IANA name such as Europe/Berlin or America/New_York`},
		{"@daily", "posix/Europe/Berlin", `timezone "posix/Europe/Berlin" is a variant that not every machine has: write "Europe/Berlin"`},
	}
	for _, tc := range tests {
		t.Run(tc.spec+"|"+tc.timezone, func(t *testing.T) {
			s, err := Parse(tc.spec, tc.timezone)
			if err == nil {
				t.Fatalf("accepted as %s", s)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			if !s.IsZero() {
				t.Errorf("returned %s beside the error", s)
			}
		})
	}
}
