package backoff

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// unixFrom is the smallest Retry-After that is a point in time: nobody asks to be asked again in thirty years, and Docker Hub has sent
	// Unix times.
	unixFrom = 1_000_000_000
	// longestWait bounds what is returned, so that no caller's sum overflows.
	longestWait = 365 * 24 * time.Hour
)

var number = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// RetryAfter returns how long an answer asks to wait: seconds or a date (RFC 9110, 10.2.3), or a Unix time. A point in time is compared with
// the answer's own Date where it has one, since clocks differ. It returns false where the answer says nothing that can be read.
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
	seconds, _ := strconv.ParseFloat(value, 64) // too large for a float64 is infinite
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
