package schedule

import (
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	for _, spec := range []string{
		"17 */6 * * *", "@every 90m", "@daily", "0 0 29 2 *", "0 0 * * FRI-SUN", "0 0 13 * 5", "*/15 1-5 1,31 jan-MAR *", "TZ=", "TZ=UTC", "CRON_TZ=x y",
		"@every", "@every -1h", "0 0 L * *", "0 0 * * 1-7/3", ", * * * *", "*/99999999999999999999 * * * *", "59-0 * * * *", "@", "\x00", "5/15 * * * *",
	} {
		f.Add(spec, "Europe/Berlin", int64(1_774_000_000))
		f.Add(spec, "Pacific/Apia", int64(1_325_000_000))
	}
	f.Fuzz(func(t *testing.T, spec, timezone string, after int64) {
		s, err := Parse(spec, timezone)
		if err != nil {
			if !s.IsZero() || err.Error() == "" {
				t.Fatalf("Parse() = %s, %v", s, err)
			}
			return
		}
		if s.IsZero() {
			if spec != "" {
				t.Fatalf("%q is never", spec)
			}
			return
		}
		const farthest = 1 << 37 // some 4,000 years either way
		at, anchor, began := time.Unix(after%farthest, 0), time.Unix(1_700_000_000, 1), time.Now()
		for range 20 {
			next := s.Next(at, anchor)
			if !next.After(at) || next.Sub(at) > horizon*time.Second && s.wall != nil || next.Nanosecond() != 0 {
				t.Fatalf("%s: Next(%s) = %s", s, at, next)
			}
			// From anywhere in between the same comes next.
			if between := at.Add(next.Sub(at) / 2); !s.Next(between, anchor).Equal(next) {
				t.Fatalf("%s: Next(%s) = %s, but Next(%s) = %s", s, at, next, between, s.Next(between, anchor))
			}
			at = next
		}
		if took := time.Since(began); took > time.Minute {
			t.Fatalf("%s takes %s", s, took)
		}
		if CheckJitter(s, 1) != nil {
			t.Fatalf("%s has no room for a jitter of nothing", s)
		}
		again, err := Parse(s.spec, s.zone)
		if err != nil || !again.Equal(s) || again.String() != s.String() {
			t.Fatalf("%s becomes %s, %v", s, again, err)
		}
	})
}
