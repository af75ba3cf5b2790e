package web

import (
	"context"
	"sync"
	"time"

	"github.com/draysync/dray/internal/record"
)

// snapshotCache asks the daemon for its status once for all who want it at one time.
type snapshotCache struct {
	daemon Daemon
	limit  time.Duration

	mu   sync.Mutex
	next *reading
	// last is the latest status, at that time, while somebody listens.
	last *record.Snapshot
	at   time.Time
}

// reading is a status on its way, which is read-only once done is closed.
type reading struct {
	done   chan struct{}
	status *record.Snapshot
	err    error
}

// status returns the daemon as it was at some moment of the call, or shortly before it. Nobody may change it.
func (c *snapshotCache) status(ctx context.Context) (*record.Snapshot, error) {
	c.mu.Lock()
	r := c.next
	if r == nil {
		r = &reading{done: make(chan struct{})}
		c.next = r
		go c.read(context.WithoutCancel(ctx), r)
	}
	c.mu.Unlock()
	select {
	case <-r.done:
		return r.status, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// recent returns the daemon as it was within the last age, and keeps that for others until it is to forget it.
func (c *snapshotCache) recent(ctx context.Context, age time.Duration) (*record.Snapshot, error) {
	c.mu.Lock()
	last, at := c.last, c.at
	c.mu.Unlock()
	if last != nil && time.Since(at) < age {
		return last, nil
	}
	status, err := c.status(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.last, c.at = status, time.Now()
	c.mu.Unlock()
	return status, nil
}

func (c *snapshotCache) forget() {
	c.mu.Lock()
	c.last = nil
	c.mu.Unlock()
}

// read ends when the daemon has answered, or not in time.
func (c *snapshotCache) read(ctx context.Context, r *reading) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	status, err := c.daemon.Status(ctx)
	if r.err = err; err == nil {
		complete(&status)
		r.status = &status
	}
	c.mu.Lock()
	c.next = nil
	c.mu.Unlock()
	close(r.done)
}
