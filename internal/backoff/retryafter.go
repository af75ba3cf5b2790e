package backoff

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// unixFrom is the smallest Retry-After that is a point in time: no one asks to wait thirty years, and Docker Hub has sent Unix times.
	unixFrom = 1_000_000_000
	// longestWait limits the result, so that no caller's sum overflows.
	longestWait = 365 * 24 * time.Hour
)

var number = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// RetryAfter returns the pause that an answer asks for: seconds or a date (RFC 9110, 10.2.3), or a Unix time. It compares a point in time
// with the answer's own Date, if any, since clocks differ. It returns false if the answer asks for none.
func RetryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		value = strings.TrimSpace(header.Get("X-Retry-After"))
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	if at, err := http.ParseTime(value); err == nil {
		return bounded(at.Sub(now).Seconds()), true
	}
	if !number.MatchString(value) {
		return 0, false
	}
	seconds, _ := strconv.ParseFloat(value, 64) // too large values become infinite
	if seconds >= unixFrom {
		seconds -= float64(now.Unix())
	}
	return bounded(seconds), true
}

func bounded(seconds float64) time.Duration {
	if seconds >= longestWait.Seconds() {
		return longestWait
	}
	return time.Duration(max(0, seconds) * float64(time.Second))
}
