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
	"github.com/draysync/dray/internal/switching"
)

// Retries configures retries. The zero value means the defaults.
type Retries struct {
	// Attempts limits how often a request is sent; 0 means 5.
	Attempts int
	// First is the pause after the first failure, doubled after each further one; 0 means 500 ms.
	First time.Duration
	// Max limits a pause, even one that a registry asks for: if it asks for more, the error says when to come back. 0 means 30 s.
	Max time.Duration
}

func (r Retries) withDefaults() Retries {
	return Retries{Attempts: cmp.Or(r.Attempts, 5), First: cmp.Or(r.First, 500*time.Millisecond), Max: cmp.Or(r.Max, 30*time.Second)}
}

// Pause returns the pause after a number of failures.
func (r Retries) Pause(failures int) time.Duration {
	return backoff.Backoff{First: r.First, Max: r.Max}.Pause(failures)
}

// silences limits the attempts at a silent counterpart: each takes a minute.
const silences = 3

// retryableStatus reports whether a later answer may have another status.
func retryableStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	// Gateways, load balancers and CDNs have statuses of their own for a registry that they cannot reach: Cloudflare's 520 to 530, nginx's 499.
	return status == clientClosed || status >= firstOfGateways && status <= 599
}

// clientClosed and firstOfGateways are statuses that no standard has: a 499, and a 5xx that is one of a gateway.
const (
	clientClosed    = 499
	firstOfGateways = 520
)

// mayPass reports whether a request without an answer may get one later. Exceptions are what the caller cancelled, answers that are too
// slow or too long, and lasting configuration errors such as an unknown certificate authority or a refused client certificate.
func mayPass(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrTooLong) || errors.Is(err, ErrSlow) || errors.Is(err, errDeadline) || errors.Is(err, switching.ErrSwitched) {
		return false
	}
	if _, ok := errors.AsType[*strayError](err); ok {
		return false
	}
	if proxy, ok := errors.AsType[*proxyError](err); ok {
		return retryableStatus(proxy.status)
	}
	return tlsHint(err) == "" && certificateAlert(err) == "" && !strings.Contains(err.Error(), "no such host")
}

// goDuration finds the pause that GHCR names only in its message: "retry-after: 880.092µs, allowed: 44000/minute".
var goDuration = regexp.MustCompile(`retry-after: ([0-9.]+(?:ns|µs|us|ms|s|m|h)(?:[0-9.]+(?:ns|µs|us|ms|s|m|h))*)`)

// retryAfter returns the pause that the answer asks for, in its header or its message; false if it asks for none.
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
