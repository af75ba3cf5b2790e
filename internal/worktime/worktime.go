// Package worktime limits how long an operation works. Time in which all of it waits for slots does not count.
package worktime

import (
	"context"
	"sync"
	"time"
)

// clock runs unless everything that it times waits.
type clock struct {
	end func()

	mu sync.Mutex
	// left is the remaining time.
	left  time.Duration
	timer *time.Timer
	since time.Time // when it last started; zero while stopped
	// waiting and working count the parts that wait for slots, and those that have one.
	waiting, working int
	over             bool
}

// throttleKey is the context key of what WithThrottle was given.
type throttleKey struct{}

// WithThrottle returns a context for which throttled is called when something begins to wait for a limit that all operations share, and what it returns
// when the wait has ended.
func WithThrottle(ctx context.Context, throttled func() (ended func())) context.Context {
	return context.WithValue(ctx, throttleKey{}, throttled)
}

// Throttle marks the caller as waiting for a limit that all operations share until it calls ended.
func Throttle(ctx context.Context) (ended func()) {
	throttled, ok := ctx.Value(throttleKey{}).(func() func())
	if !ok {
		return func() {}
	}
	return throttled()
}

// clockKey is the context key of a *clock.
type clockKey struct{}

// WithTimeout returns a context that ends with a cause after its operation has worked for a time. cancel releases its resources.
func WithTimeout(ctx context.Context, timeout time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &clock{left: timeout, since: time.Now(), end: func() { cancel(cause) }}
	c.timer = time.AfterFunc(timeout, c.end)
	return context.WithValue(ctx, clockKey{}, c), func() {
		c.stop()
		cancel(nil)
	}
}

// Wait marks the caller as waiting until it calls done.
func Wait(ctx context.Context) (done func()) { return note(ctx, 1, 0) }

// Work marks the caller as working until it calls done.
func Work(ctx context.Context) (done func()) { return note(ctx, 0, 1) }

func note(ctx context.Context, waiting, working int) (done func()) {
	c, ok := ctx.Value(clockKey{}).(*clock)
	if !ok {
		return func() {}
	}
	c.change(waiting, working)
	return sync.OnceFunc(func() { c.change(-waiting, -working) })
}

func (c *clock) change(waiting, working int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting += waiting
	c.working += working
	runs := c.waiting == 0 || c.working > 0
	switch {
	case c.over:
	case runs && c.since.IsZero():
		c.since = time.Now()
		c.timer.Reset(c.left)
	case !runs && !c.since.IsZero() && c.timer.Stop(): // otherwise it is over
		c.left -= time.Since(c.since)
		c.since = time.Time{}
	}
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.timer.Stop()
}
