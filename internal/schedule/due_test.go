package schedule

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// keyWith returns a key whose offset within a jitter is the one wanted.
func keyWith(tb testing.TB, jitter, offset time.Duration) string {
	tb.Helper()
	for i := range 1_000_000 {
		if key := fmt.Sprintf("job-%d", i); Offset(key, jitter) == offset {
			return key
		}
	}
	tb.Fatalf("no key has the offset %s", offset)
	return ""
}

func TestDue(t *testing.T) {
	const none = ""
	tests := []struct {
		name, spec                string
		jitter, offset            time.Duration
		last, anchor, now, wanted string
	}{
		{"never ran", "0 3 * * *", 0, 0, none, none, "02 12:00:00", "02 12:00:00"},
		{"never ran, jitter", "0 3 * * *", time.Hour, 10 * time.Minute, none, none, "02 12:00:00", "02 12:00:00"},
		{"never ran, no schedule", "", time.Hour, 10 * time.Minute, none, none, "02 12:00:00", "02 12:00:00"},
		{"ran, no schedule", "", time.Hour, 10 * time.Minute, "01 12:10:00", none, "02 12:00:00", none},
		{"regular", "0 3 * * *", 0, 0, "02 03:00:00", none, "02 03:05:00", "03 03:00:00"},
		{"regular, jitter", "0 3 * * *", time.Hour, 10 * time.Minute, "02 03:10:00", none, "02 03:15:00", "03 03:10:00"},
		{"had to wait for its turn", "0 * * * *", time.Hour, 10 * time.Minute, "02 03:55:00", none, "02 03:57:00", "02 04:10:00"},
		{"had to wait for longer than its interval", "0 * * * *", time.Hour, 10 * time.Minute, "02 04:15:00", none, "02 04:16:00", "02 05:10:00"},
		{"ran for longer than its interval", "0 * * * *", 0, 0, "02 03:00:00", none, "02 04:30:00", "02 04:30:00"},
		{"ran for longer than its interval, jitter", "0 * * * *", time.Hour, 50 * time.Minute, "02 03:50:00", none, "02 04:55:00", "02 05:45:00"},
		{"asked for just before its time", "0 3 * * *", time.Hour, 10 * time.Minute, "02 03:05:00", none, "02 03:06:00", "02 03:10:00"},
		{"asked for just after its time", "0 3 * * *", time.Hour, 10 * time.Minute, "02 03:11:00", none, "02 03:12:00", "03 03:10:00"},
		{"restart in between", "0 3 * * *", time.Hour, 10 * time.Minute, "02 03:10:02", none, "02 15:00:00", "03 03:10:00"},
		{"restart between occurrence and offset", "0 3 * * *", time.Hour, 10 * time.Minute, "01 03:10:02", none, "02 03:05:00", "02 03:10:00"},
		{"down for one occurrence", "0 3 * * *", time.Hour, 10 * time.Minute, "01 03:10:00", none, "02 03:10:01", "02 03:20:01"},
		{"down for many", "0 3 * * *", time.Hour, 10 * time.Minute, "01 03:10:00", none, "12 17:00:00", "12 17:10:00"},
		{"down for many, no jitter", "0 3 * * *", 0, 0, "01 03:00:00", none, "12 17:00:00", "12 17:00:00"},
		{"down, and the next one is near", "0 3 * * *", time.Hour, 10 * time.Minute, "01 03:10:00", none, "12 03:08:00", "12 03:10:00"},
		{"caught up", "0 3 * * *", time.Hour, 10 * time.Minute, "12 17:10:00", none, "12 17:11:00", "13 03:10:00"},
		{"clock set back by a little", "*/15 * * * *", 0, 0, "02 03:00:00", none, "02 02:59:59", "02 03:15:00"},
		{"clock set back by hours", "0 3 * * *", 0, 0, "02 03:00:00", none, "01 21:00:00", "03 03:00:00"},
		{"clock set back by weeks", "0 3 * * *", time.Hour, 10 * time.Minute, "22 03:10:00", none, "01 21:00:00", "02 03:10:00"},
		{"clock set back by weeks, every", "@every 2h", 0, 0, "22 03:30:00", "22 01:30:00", "01 21:00:00", "01 21:30:00"},
		{"clock set forward", "0 3 * * *", 0, 0, "02 03:00:00", none, "28 21:00:00", "28 21:00:00"},
		{"every, regular", "@every 90m", time.Hour, 10 * time.Minute, "02 13:40:05", "02 12:00:00", "02 13:41:00", "02 15:10:00"},
		{"every, restart keeps the phase", "@every 90m", 0, 0, "02 13:30:05", "01 00:00:00", "02 14:00:00", "02 15:00:00"},
		{"every, first run", "@every 90m", time.Hour, 10 * time.Minute, "02 12:10:00", "02 12:00:00", "02 12:11:00", "02 13:40:00"},
	}
	at := func(text string) time.Time {
		if text == none {
			return time.Time{}
		}
		parsed, err := time.Parse("2006-01 02 15:04:05", "2026-01 "+text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			key := keyWith(t, tc.jitter, tc.offset)
			got := Due(mustParse(t, tc.spec, ""), key, tc.jitter, at(tc.last), at(tc.anchor), at(tc.now))
			if !got.Equal(at(tc.wanted)) {
				t.Errorf("due %s, want %s", got, tc.wanted)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	key := keyWith(t, time.Hour, 10*time.Minute)
	s := mustParse(t, "0 3 * * *", "")
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	want := day.Add(27*time.Hour + 10*time.Minute)
	if got := Deadline(s, key, time.Hour, day.Add(5*time.Hour), day); !got.Equal(want) {
		t.Errorf("Deadline() = %s, want %s", got, want)
	}
	if got := Deadline(Schedule{}, key, time.Hour, day, day); !got.IsZero() {
		t.Errorf("without a schedule: Deadline() = %s, want none", got)
	}
	if got := Deadline(s, key, time.Hour, time.Time{}, day); !got.IsZero() {
		t.Errorf("without a success: Deadline() = %s, want none", got)
	}
}

// life is what happens to one job over months: it waits for its turn, runs, and dray is stopped and started again, with a store that
// keeps whole seconds.
func life(s Schedule, key string, jitter time.Duration, random *rand.Rand, start, end time.Time) (starts []time.Time) {
	last, now, anchor := start, start, start
	for {
		due := Due(s, key, jitter, last, anchor, now)
		for random.IntN(4) == 0 && due.Sub(now) > 2*time.Second { // restarts before it is due
			now = now.Add(time.Duration(random.Int64N(int64(due.Sub(now)))))
			due = Due(s, key, jitter, last.Truncate(time.Second), anchor.Truncate(time.Millisecond), now)
		}
		if !due.Before(end) {
			return starts
		}
		last = due.Add(time.Duration(random.Int64N(int64(20 * time.Second))))
		now = last.Add(time.Duration(random.Int64N(int64(20 * time.Second))))
		starts = append(starts, last)
	}
}

// TestNoOccurrenceIsLostOrDoubled also holds for jitters as long as the interval.
func TestNoOccurrenceIsLostOrDoubled(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 3, 1, 0, 0, 0, 123_456_789, time.UTC)
	end := start.AddDate(0, 2, 0)
	for _, spec := range []string{"*/5 * * * *", "@hourly", "17 */6 * * *", "30 2 * * *", "@every 7m", "@every 1m", "0 3 * * MON"} {
		s := mustParse(t, spec, "Europe/Berlin")
		for _, share := range []int{0, 1, 3, 10} {
			jitter := s.shortest(1<<62) * time.Duration(share) / 10
			for i := range 3 {
				key := fmt.Sprint(i)
				offset := Offset(key, jitter)
				at := start
				for _, started := range life(s, key, jitter, random, start, end) {
					at = s.Next(at.Add(-offset), start).Add(offset)
					if started.Before(at) || started.Sub(at) > 20*time.Second {
						t.Fatalf("%s, jitter %s: started at %s for %s", s, jitter, started, at)
					}
				}
				if next := s.Next(at.Add(-offset), start).Add(offset); next.Before(end) {
					t.Fatalf("%s, jitter %s: did not start at %s", s, jitter, next)
				}
			}
		}
	}
}

func TestTimes(t *testing.T) {
	at := func(text string) time.Time {
		parsed, err := time.Parse("02 15:04:05", text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, test := range []struct {
		spec  string
		until string // the end of a window that begins at midnight; empty for none
		want  [3]string
	}{
		{"0 3 * * *", "", [3]string{"02 03:10:00", "03 03:10:00", "04 03:10:00"}},
		{"@every 40m", "", [3]string{"01 12:35:00", "01 13:15:00", "01 13:55:00"}},
		{"@every 40m", "13:00", [3]string{"01 12:35:00", "02 00:00:00", "02 00:35:00"}},
	} {
		var parser Parser
		spec, want := test.spec, test.want
		s, err := parser.Parse(spec, "UTC")
		if err != nil {
			t.Fatal(err)
		}
		var windows Windows
		if test.until != "" {
			if windows, err = parser.Windows([]Window{{From: "00:00", To: test.until}}, "UTC"); err != nil {
				t.Fatal(err)
			}
		}
		for i, got := range Times(s, windows, keyWith(t, time.Hour, 10*time.Minute), time.Hour, at("01 12:00:00"), at("01 00:25:00"), 3) {
			if !got.Equal(at(want[i])) {
				t.Errorf("%s: the time %d is %s, want %s", spec, i, got, want[i])
			}
		}
	}
	if got := Times(Schedule{}, Windows{}, "", 0, at("01 00:00:00"), time.Time{}, 3); got != nil {
		t.Errorf("of no schedule: %v", got)
	}
}
