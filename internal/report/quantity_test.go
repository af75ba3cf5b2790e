package report

import (
	"math"
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	tests := map[int64]string{
		0: "0 B", 1: "1 B", 999: "999 B", 1000: "1 kB", 1049: "1 kB", 1050: "1.1 kB", 99_949: "99.9 kB", 99_960: "100 kB",
		999_499: "999 kB", 999_500: "1 MB", 1_048_576: "1 MB", 12_345_678: "12.3 MB", 120_000_000: "120 MB",
		999_999_999: "1 GB", 5_000_000_000_000: "5 TB", -1500: "-1.5 kB", math.MaxInt64: "9.2 EB", math.MinInt64: "-9.2 EB",
	}
	for bytes, want := range tests {
		t.Run(want, func(t *testing.T) {
			if got := Size(bytes); got != want {
				t.Errorf("Size(%d) = %q, want %q", bytes, got, want)
			}
		})
	}
}

func TestElapsed(t *testing.T) {
	tests := map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 400 * time.Microsecond: "0s", 420*time.Millisecond + 300: "420ms",
		999600 * time.Microsecond: "1s", 1234 * time.Millisecond: "1.2s", 42400 * time.Millisecond: "42s",
		59700 * time.Millisecond: "1m", 70 * time.Second: "1m10s", 125 * time.Second: "2m5s", 10 * time.Minute: "10m",
		time.Hour: "1h", 3*time.Hour + 20*time.Minute + 29*time.Second: "3h20m", 30 * time.Hour: "30h",
	}
	for d, want := range tests {
		t.Run(d.String(), func(t *testing.T) {
			if got := Elapsed(d); got != want {
				t.Errorf("Elapsed(%s) = %q, want %q", d, got, want)
			}
		})
	}
}
