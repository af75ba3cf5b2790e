package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size writes a number of bytes for people, in SI units (1 kB is 1000 B) with at most three digits: "999 B", "1.2 MB",
// "120 GB".
func Size(bytes int64) string {
	scale, unit := unitOf(bytes)
	return digits(float64(bytes)/scale) + " " + unit
}

// progressSize writes how much of a whole is done, both in the unit of the whole: "34.1/120 MB".
func progressSize(done, whole int64) string {
	scale, unit := unitOf(whole)
	return digits(float64(done)/scale) + "/" + digits(float64(whole)/scale) + " " + unit
}

// unitOf chooses the unit in which bytes has less than four digits after rounding.
func unitOf(bytes int64) (scale float64, unit string) {
	scale, unit = 1, "B"
	for _, next := range []string{"kB", "MB", "GB", "TB", "PB", "EB"} {
		if math.Abs(math.Round(float64(bytes)/scale)) < 1000 {
			break
		}
		scale, unit = scale*1000, next
	}
	return scale, unit
}

// digits writes at most one decimal, and none from 100 on.
func digits(v float64) string {
	if math.Abs(v) >= 99.95 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// Elapsed writes a duration for people, with as much precision as they care for: "420ms", "1.2s", "42s", "2m5s", "3h20m".
func Elapsed(d time.Duration) string {
	unit := time.Minute
	switch {
	case d < time.Second:
		unit = time.Millisecond
	case d < 10*time.Second:
		unit = 100 * time.Millisecond
	case d < time.Hour:
		unit = time.Second
	}
	text := max(d, 0).Round(unit).String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// count writes a number with its noun: "1 tag", "2 tags".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
