package schedule

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// windowsOf reads windows such as "mon-fri,sun 22:00-06:00", several joined by "; ".
func windowsOf(t *testing.T, text, zone string) Windows {
	t.Helper()
	var list []Window
	for one := range strings.SplitSeq(text, "; ") {
		days, hours, ok := strings.Cut(one, " ")
		if !ok {
			days, hours = "", one
		}
		w := Window{}
		if days != "" {
			w.Days = strings.Split(days, ",")
		}
		w.From, w.To, _ = strings.Cut(hours, "-")
		list = append(list, w)
	}
	w, err := new(Parser).Windows(list, zone)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestWindows has times on the wall clock of a zone. 2026-03-29 and 2026-10-25 are the Sundays on which Berlin's clock is set forward from
// 02:00 to 03:00, and back from 03:00 to 02:00; 2026-11-23 is a Monday.
func TestWindows(t *testing.T) {
	const always, now = "never", "now"
	for _, tt := range []struct{ windows, zone, at, opens, closes string }{
		{"mon-fri 22:00-06:00", "UTC", "2026-11-23T12:00Z", "2026-11-23T22:00Z", now},
		{"mon-fri 22:00-06:00", "UTC", "2026-11-23T22:00Z", now, "2026-11-24T06:00Z"},
		{"mon-fri 22:00-06:00", "UTC", "2026-11-24T05:59Z", now, "2026-11-24T06:00Z"},
		{"mon-fri 22:00-06:00", "UTC", "2026-11-24T06:00Z", "2026-11-24T22:00Z", now},
		{"mon-fri 22:00-06:00", "UTC", "2026-11-28T05:00Z", now, "2026-11-28T06:00Z"}, // Saturday: opened on Friday
		{"mon-fri 22:00-06:00", "UTC", "2026-11-28T22:00Z", "2026-11-30T22:00Z", now}, // Saturday
		{"mon-fri 22:00-06:00", "UTC", "2026-11-30T05:00Z", "2026-11-30T22:00Z", now}, // Monday: Sunday opens none
		{"sun 22:00-06:00", "UTC", "2026-11-30T05:00Z", now, "2026-11-30T06:00Z"},     // over the end of the week
		{"sat-mon 00:00-24:00", "UTC", "2026-11-27T23:59Z", "2026-11-28T00:00Z", now},
		{"sat-mon 00:00-24:00", "UTC", "2026-11-29T12:00Z", now, "2026-12-01T00:00Z"},
		{"00:00-24:00", "UTC", "2026-11-29T12:00Z", now, always},
		{"06:00-22:00; 22:00-06:00", "UTC", "2026-11-29T12:00Z", now, always},
		{"mon 08:00-12:00; mon 11:00-14:00", "UTC", "2026-11-23T09:00Z", now, "2026-11-23T14:00Z"},
		{"mon 08:00-12:00; mon 13:00-14:00", "UTC", "2026-11-23T12:00Z", "2026-11-23T13:00Z", now},
		{"tue,thu 1:30-2:00", "UTC", "2026-11-25T00:00Z", "2026-11-26T01:30Z", now},
		{"22:00-06:00", "Europe/Berlin", "2026-11-23T20:30Z", "2026-11-23T21:00Z", now},
		{"22:00-06:00", "Asia/Kolkata", "2026-11-23T16:00Z", "2026-11-23T16:30Z", now},
		{"22:00-06:00", "Europe/Berlin", "2026-03-28T21:00Z", now, "2026-03-29T04:00Z"},     // forward: seven hours
		{"22:00-06:00", "Europe/Berlin", "2026-10-24T20:00Z", now, "2026-10-25T05:00Z"},     // back: nine hours
		{"sun 02:15-02:45", "Europe/Berlin", "2026-03-29T00:00Z", "2026-04-05T00:15Z", now}, // skipped as a whole
		{"sun 01:30-02:30", "Europe/Berlin", "2026-03-29T00:30Z", now, "2026-03-29T01:00Z"}, // its end is skipped
		{"sun 02:30-03:30", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T01:00Z", now}, // its beginning is skipped
		{"sun 02:30-03:30", "Europe/Berlin", "2026-03-29T01:00Z", now, "2026-03-29T01:30Z"},
		{"sun 02:00-03:00", "Europe/Berlin", "2026-10-25T00:00Z", now, "2026-10-25T02:00Z"}, // twice, at a stretch
		{"sun 02:15-02:45", "Europe/Berlin", "2026-10-25T00:15Z", now, "2026-10-25T00:45Z"}, // twice
		{"sun 02:15-02:45", "Europe/Berlin", "2026-10-25T00:45Z", "2026-10-25T01:15Z", now},
		{"sun 02:15-02:45", "Europe/Berlin", "2026-10-25T01:45Z", "2026-11-01T01:15Z", now},
		{"sun 01:00-02:30", "Europe/Berlin", "2026-10-25T00:29Z", now, "2026-10-25T00:30Z"}, // and once more after the change
		{"sun 01:00-02:30", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-25T01:00Z", now},
		{"sun 00:30-04:00", "America/New_York", "2026-11-01T04:00Z", "2026-11-01T04:30Z", now},
		{"sun 00:30-04:00", "America/New_York", "2026-11-01T04:30Z", now, "2026-11-01T09:00Z"},
		{"fri 10:00-12:00", "Pacific/Apia", "2011-12-29T09:00Z", "2012-01-05T20:00Z", now}, // that Friday was skipped
	} {
		w := windowsOf(t, tt.windows, tt.zone)
		at := moment(t, tt.at)
		for what, got := range map[string][2]string{"opens": {tt.opens, clockText(w.Opens(at), at)}, "closes": {tt.closes, clockText(w.Closes(at), at)}} {
			if got[0] != got[1] {
				t.Errorf("%s %s at %s: %s %s, want %s", tt.windows, tt.zone, tt.at, what, got[1], got[0])
			}
		}
	}
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02T15:04Z", text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func clockText(at, now time.Time) string {
	switch {
	case at.IsZero():
		return "never"
	case at.Equal(now):
		return "now"
	}
	return at.UTC().Format("2006-01-02T15:04Z")
}

// TestWindowsRandom compares random windows with a walk over all minutes, around changes of the clock.
func TestWindowsRandom(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"}
	for range 60 {
		var texts []string
		for range 1 + rand.IntN(3) {
			day := days()[rand.IntN(7)]
			if rand.IntN(2) == 0 {
				day += "-" + days()[rand.IntN(7)]
			}
			from, to := rand.IntN(96), rand.IntN(97)
			if from == to {
				to++
			}
			texts = append(texts, fmt.Sprintf("%s %02d:%02d-%02d:%02d", day, from/4, from%4*15, to/4, to%4*15))
		}
		text, zone := strings.Join(texts, "; "), zones[rand.IntN(len(zones))]
		w := windowsOf(t, text, zone)
		location, _ := time.LoadLocation(zone)
		open := func(at time.Time) bool {
			at = at.In(location)
			today, now := (int(at.Weekday())+6)%7, int64(at.Hour()*60*minute+at.Minute()*minute)
			for _, one := range texts {
				names, hours, _ := strings.Cut(one, " ")
				a, b, _ := strings.Cut(hours, "-")
				from, _ := ParseClock(a)
				to, _ := ParseClock(b)
				list, _ := ParseDays(names)
				for _, d := range list {
					switch {
					case d == today && from <= now && (now < to || to < from), (d+1)%7 == today && to < from && now < to:
						return true
					}
				}
			}
			return false
		}
		start := time.Date(2026, []time.Month{3, 4, 10, 11}[rand.IntN(4)], 1+rand.IntN(28), rand.IntN(24), 15*rand.IntN(4), 0, 0, time.UTC)
		is, at := open(start), start
		for at.Before(start.AddDate(0, 0, 9)) && open(at) == is {
			at = at.Add(15 * time.Minute)
		}
		got := w.Opens(start)
		if is {
			if got = w.Closes(start); got.IsZero() {
				got = at // always
			}
		}
		if !got.Equal(at) {
			t.Fatalf("%s %s at %s (open %v): %s, want %s", text, zone, start, is, got, at)
		}
	}
}

func TestWindowsMistakes(t *testing.T) {
	for _, tt := range []struct {
		window Window
		says   string
	}{
		{Window{From: "22:00", To: "22:00"}, "it never opens: 22:00 to 22:00"},
		{Window{From: "24:00", To: "06:00"}, "it never opens"},
		{Window{From: "25:00", To: "06:00"}, `"25:00" is not a time of the day`},
		{Window{From: "22:00", To: "24:01"}, `"24:01" is not a time of the day`},
		{Window{From: "22:60", To: "24:00"}, `"22:60" is not a time of the day`},
		{Window{From: "10 pm", To: "24:00"}, `"10 pm" is not a time of the day`},
		{Window{Days: []string{"mon", "Friday"}, From: "22:00", To: "24:00"}, `"Friday" is not a day`},
		{Window{Days: []string{"mon-"}, From: "22:00", To: "24:00"}, `"mon-" is not a day`},
	} {
		if _, err := new(Parser).Windows([]Window{tt.window}, ""); err == nil || !strings.HasPrefix(err.Error(), tt.says) {
			t.Errorf("%+v: %v, want %s", tt.window, err, tt.says)
		}
	}
	if _, err := new(Parser).Windows([]Window{{From: "22:00", To: "24:00"}}, "Mars"); err == nil {
		t.Error("Mars has a time zone")
	}
}

func TestMeets(t *testing.T) {
	for _, tt := range []struct {
		windows, spec string
		jitter        time.Duration
		want          bool
	}{
		{"mon-fri 22:00-06:00", "0 12 * * *", 0, false},
		{"mon-fri 22:00-06:00", "0 12 * * *", 10 * time.Hour, true},
		{"mon-fri 22:00-06:00", "0 23 * * sun", 0, false},
		{"mon-fri 22:00-06:00", "0 5 * * sat", 0, true},
		{"fri 10:00-11:00", "30 10 13 * *", 0, true},
		{"fri 10:00-11:00", "30 10 29 2 *", 0, true},
		{"22:00-22:01", "* * * * *", 0, true},
		{"sun 22:00-22:01", "3-59/7 * * * *", 0, false},
		{"sun 22:00-22:01", "@hourly", 0, true},
		{"22:00-06:00", "@every 24h", 0, true},
		{"22:00-06:00", "", 0, true},
	} {
		s, err := Parse(tt.spec, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := windowsOf(t, tt.windows, "").Meets(s, tt.jitter); got != tt.want {
			t.Errorf("%s meets %s: %v", tt.windows, tt.spec, got)
		}
	}
	if !(Windows{}).Meets(Schedule{every: 1}, 0) || (Windows{}).Opens(time.Unix(5, 0)) != time.Unix(5, 0) || !(Windows{}).Closes(time.Unix(5, 0)).IsZero() {
		t.Error("no windows are not always open")
	}
}
