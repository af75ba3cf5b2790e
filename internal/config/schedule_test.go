package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSchedules: each key comes from the mapping or else from the defaults, by itself.
func TestSchedules(t *testing.T) {
	cfg, err := Load("testdata/valid/schedule.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Name, Schedule, Jitter string
		Priority               int
	}
	var got []line
	for _, m := range cfg.Mappings {
		got = append(got, line{m.Name, m.Schedule.String(), m.Jitter.String(), m.Priority})
	}
	want := []line{
		{"default", "17 */6 * * * Europe/Berlin", "10m0s", -100},
		{"own", "@every 2h", "0s", 100},
		{"zone", "17 */6 * * * America/New_York", "10m0s", -100},
		{"none", "never", "10m0s", -100},
		{"daily", "@daily Europe/Berlin", "2h0m0s", -100},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	plain, err := Parse("dray.yaml", []byte(small), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m := plain.Mappings[0]; !m.Schedule.IsZero() || m.Jitter != 0 || m.Priority != 0 {
		t.Errorf("without the keys: %+v", m)
	}
}
