// Package backoff computes the pauses before retries.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is a pause that doubles with each failure, half of it random, so that requests that failed together are not retried together.
type Backoff struct {
	// First is the pause after the first failure, Max the longest.
	First, Max time.Duration
}

// Pause returns the pause after a number of failures, 1 for the first.
func (b Backoff) Pause(failures int) time.Duration {
	d := b.Max
	if shift := max(failures-1, 0); shift < 32 && b.First<<shift < b.Max {
		d = b.First << shift
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // spreads load, guards nothing
}

// Sleep waits, or returns why the context has ended.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
