package registry

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Retries describes how requests are tried again. The zero value means the defaults.
type Retries struct {
	// Attempts is how often a request is sent at the most; 0 means 5.
	Attempts int
	// First is the pause after the first failure, doubled after each further one; 0 means 500 ms.
	First time.Duration
	// Max bounds a pause, also one that a registry asks for; what it asks for beyond is not waited for here: the error then
	// says when to come back. 0 means 30 s.
	Max time.Duration
}

func (r Retries) withDefaults() Retries {
	if r.Attempts == 0 {
		r.Attempts = 5
	}
	if r.First == 0 {
		r.First = 500 * time.Millisecond
	}
	if r.Max == 0 {
		r.Max = 30 * time.Second
	}
	return r
}

// pause returns how long to wait after the given failed attempt (1 for the first): exponential, with half of it at random.
func (r Retries) pause(attempt int) time.Duration {
	d := min(r.First<<(attempt-1), r.Max)
	return d/2 + rand.N(d/2+1) //nolint:gosec // spreads load, guards nothing
}

// retryableStatus tells whether an answer of this status may be another one later.
func retryableStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryableError tells whether a request that got no answer may get one later. Everything may but what the caller
// cancelled and what names a lasting fault of set-up, such as an unknown certificate authority.
func retryableError(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, errTooLong) {
		return false
	}
	return tlsHint(err) == "" && !strings.Contains(err.Error(), "no such host")
}

// goDuration finds the pause that GHCR names only in its message: "retry-after: 880.092µs, allowed: 44000/minute".
var goDuration = regexp.MustCompile(`retry-after: ([0-9.]+(?:ns|µs|us|ms|s|m|h)(?:[0-9.]+(?:ns|µs|us|ms|s|m|h))*)`)

// unixFrom is the smallest Retry-After that is a point in time: nobody asks to be asked again in thirty years, and Docker
// Hub has sent Unix times.
const unixFrom = 1_000_000_000

// retryAfter returns how long the answer asks to wait. RFC 9110, 10.2.3, has seconds and dates; Unix times and a duration in
// the message occur. It returns false where the answer says nothing that can be read.
func retryAfter(header http.Header, message string, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		value = strings.TrimSpace(header.Get("X-Retry-After"))
	}
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 && seconds < 1e12 {
		if seconds >= unixFrom {
			return max(0, time.Unix(int64(seconds), 0).Sub(now)), true
		}
		return time.Duration(seconds * float64(time.Second)), true
	}
	if at, err := http.ParseTime(value); err == nil {
		if date, err := http.ParseTime(header.Get("Date")); err == nil {
			now = date // the registry's clock, not ours, is what it reckons by
		}
		return max(0, at.Sub(now)), true
	}
	if m := goDuration.FindStringSubmatch(message); m != nil {
		if d, err := time.ParseDuration(m[1]); err == nil {
			return d, true
		}
	}
	return 0, false
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
