package schedule

import (
	"fmt"
	"testing"
	"time"
)

// TestOffset has values that must never change: all jobs everywhere would move.
func TestOffset(t *testing.T) {
	for _, tc := range []struct {
		key    string
		jitter time.Duration
		want   time.Duration
	}{
		{"alpine", time.Hour, 59*time.Minute + 3*time.Second}, {"tools", time.Hour, 15*time.Minute + 53*time.Second}, {"", 10 * time.Minute, 52 * time.Second},
		{"alpine", 24 * time.Hour, 2*time.Hour + 59*time.Minute + 3*time.Second},
	} {
		if got := Offset(tc.key, tc.jitter); got != tc.want {
			t.Errorf("Offset(%q, %s) = %s, want %s", tc.key, tc.jitter, got, tc.want)
		}
	}
	for _, jitter := range []time.Duration{-time.Hour, 0, 1, time.Second} {
		if got := Offset("alpine", jitter); got != 0 {
			t.Errorf("Offset(%s) = %s, want nothing", jitter, got)
		}
	}
}

func TestOffsetSpreads(t *testing.T) {
	const jobs, jitter = 10_000, 1500 * time.Millisecond
	for _, jitter := range []time.Duration{jitter, 10 * time.Second, 10 * time.Minute, 100 * time.Hour} {
		var tenths [10]int
		for i := range jobs {
			offset := Offset(fmt.Sprintf("job-%d", i), jitter)
			if offset < 0 || offset >= jitter || offset%time.Second != 0 {
				t.Fatalf("%s is not within %s", offset, jitter)
			}
			tenths[10*offset/jitter]++
		}
		for i, n := range tenths {
			if jitter >= 10*time.Second && (n < jobs/10*8/10 || n > jobs/10*12/10) {
				t.Errorf("jitter %s: %d of %d jobs are in tenth %d", jitter, n, jobs, i)
			}
		}
	}
}

func TestCheckJitter(t *testing.T) {
	for _, tc := range []struct {
		spec    string
		longest time.Duration
	}{
		{"* * * * *", time.Minute}, {"*/15 * * * *", 15 * time.Minute}, {"*/7 * * * *", 4 * time.Minute}, {"@hourly", time.Hour},
		{"17 */6 * * *", 6 * time.Hour}, {"0 0,23 * * *", time.Hour}, {"0 1,23 * * *", 2 * time.Hour}, {"0 8,20 * * *", 12 * time.Hour}, {"@daily", 24 * time.Hour},
		{"0 0 * * MON", 7 * 24 * time.Hour}, {"0 0,23 * * MON", 23 * time.Hour}, {"0 1 * * MON,WED", 48 * time.Hour}, {"0 3 * * 1-5", 24 * time.Hour},
		{"@monthly", 28 * 24 * time.Hour}, {"0 0 13 * FRI", 24 * time.Hour}, {"0 0 31 * *", 31 * 24 * time.Hour}, {"@yearly", 365 * 24 * time.Hour},
		{"0 0 29 2 *", (4*365 + 1) * 24 * time.Hour}, {"0 12 28 2 *", 365 * 24 * time.Hour}, {"@every 90m", 90 * time.Minute}, {"0 0 1,31 * *", 24 * time.Hour},
	} {
		s := mustParse(t, tc.spec, "Europe/Berlin")
		if err := CheckJitter(s, tc.longest); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if err := CheckJitter(s, tc.longest+1); err == nil {
			t.Errorf("%s: more than %s is accepted", s, tc.longest)
		}
	}
	for _, tc := range []struct {
		spec   string
		jitter time.Duration
		want   string
	}{
		{"@hourly", 2 * time.Hour, `jitter 2h is longer than the 1h between two runs of "@hourly": write 1h or less`},
		{"*/20 * * * *", 20*time.Minute + time.Second, `jitter 20m1s is longer than the 20m between two runs of "*/20 * * * *": write 20m or less`},
		{"@every 90s", time.Hour, `jitter 1h is longer than the 1m30s between two runs of "@every 90s": write 1m30s or less`},
		{"@daily", -time.Second, "jitter -1s is negative"},
		{"", -time.Second, "jitter -1s is negative"},
		{"", 1000 * time.Hour, "<nil>"},
	} {
		if got := fmt.Sprint(CheckJitter(mustParse(t, tc.spec, ""), tc.jitter)); got != tc.want {
			t.Errorf("CheckJitter(%q, %s) = %s, want %s", tc.spec, tc.jitter, got, tc.want)
		}
	}
}
