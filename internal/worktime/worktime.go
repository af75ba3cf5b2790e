// Package worktime bounds how long something works. Time in which all of it waits for its turn does not count.
package worktime

import (
	"context"
	"sync"
	"time"
)

// clock runs unless all that it times waits for its turn.
type clock struct {
	end func()

	mu sync.Mutex
	// left is how long it may still run.
	left  time.Duration
	timer *time.Timer
	since time.Time // when it began to run last; zero while it stands
	// waiting and working count what waits for its turn, and what has it.
	waiting, working int
	over             bool
}

// clockKey is the key of a *clock in a context.
type clockKey struct{}

// WithTimeout returns a context that ends with a cause once what it is for has worked for a time. Calling cancel gives back what it takes.
func WithTimeout(ctx context.Context, timeout time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &clock{left: timeout, since: time.Now(), end: func() { cancel(cause) }}
	c.timer = time.AfterFunc(timeout, c.end)
	return context.WithValue(ctx, clockKey{}, c), func() {
		c.stop()
		cancel(nil)
	}
}

// Wait notes that the caller waits for its turn until it calls done.
func Wait(ctx context.Context) (done func()) { return note(ctx, 1, 0) }

// Work notes that the caller has its turn until it calls done.
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
	case !runs && !c.since.IsZero() && c.timer.Stop(): // else it is over
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
