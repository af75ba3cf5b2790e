package wire

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/draysync/dray/internal/backoff"
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
	return Retries{Attempts: cmp.Or(r.Attempts, 5), First: cmp.Or(r.First, 500*time.Millisecond), Max: cmp.Or(r.Max, 30*time.Second)}
}

// Pause returns how long to wait after so many failures.
func (r Retries) Pause(failures int) time.Duration {
	return backoff.Backoff{First: r.First, Max: r.Max}.Pause(failures)
}

// silences is how often a counterpart that says nothing is asked: each time takes a minute.
const silences = 3

// retryableStatus tells whether an answer of this status may be another one later.
func retryableStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// mayPass tells whether a request that got no answer may get one later. Everything may but what the caller cancelled, what is too slow or
// too long, and what names a lasting fault of set-up, such as an unknown certificate authority.
func mayPass(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrTooLong) || errors.Is(err, ErrSlow) || errors.Is(err, errDeadline) {
		return false
	}
	if _, ok := errors.AsType[*strayError](err); ok {
		return false
	}
	if proxy, ok := errors.AsType[*proxyError](err); ok {
		return retryableStatus(proxy.status)
	}
	return tlsHint(err) == "" && !strings.Contains(err.Error(), "no such host")
}

// goDuration finds the pause that GHCR names only in its message: "retry-after: 880.092µs, allowed: 44000/minute".
var goDuration = regexp.MustCompile(`retry-after: ([0-9.]+(?:ns|µs|us|ms|s|m|h)(?:[0-9.]+(?:ns|µs|us|ms|s|m|h))*)`)

// retryAfter returns how long the answer asks to wait, in its header or in its message; false where it does not say.
func retryAfter(header http.Header, message string, now time.Time) (time.Duration, bool) {
	if d, ok := backoff.RetryAfter(header, now); ok {
		return d, true
	}
	if m := goDuration.FindStringSubmatch(message); m != nil {
		if d, err := time.ParseDuration(m[1]); err == nil {
			return d, true
		}
	}
	return 0, false
}
