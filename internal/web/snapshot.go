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
	// keep is set while it is for a listener. The cache's lock guards it.
	keep bool
}

// status returns the daemon as it was at some moment of the call, or shortly before it. Nobody may change it.
func (c *snapshotCache) status(ctx context.Context) (*record.Snapshot, error) {
	c.mu.Lock()
	r := c.begin(ctx)
	c.mu.Unlock()
	return r.wait(ctx)
}

// recent returns the daemon as it was within the last age, and keeps that for others until it is to forget it.
func (c *snapshotCache) recent(ctx context.Context, age time.Duration) (*record.Snapshot, error) {
	c.mu.Lock()
	if c.last != nil && time.Since(c.at) < age {
		defer c.mu.Unlock()
		return c.last, nil
	}
	r := c.begin(ctx)
	r.keep = true
	c.mu.Unlock()
	return r.wait(ctx)
}

func (c *snapshotCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = nil
	if c.next != nil {
		c.next.keep = false
	}
}

// begin returns the reading that is under way, or a new one. The caller holds the lock.
func (c *snapshotCache) begin(ctx context.Context) *reading {
	if c.next == nil {
		c.next = &reading{done: make(chan struct{})}
		go c.read(context.WithoutCancel(ctx), c.next)
	}
	return c.next
}

func (r *reading) wait(ctx context.Context) (*record.Snapshot, error) {
	select {
	case <-r.done:
		return r.status, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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
	if r.keep && err == nil {
		c.last, c.at = r.status, time.Now()
	}
	c.mu.Unlock()
	close(r.done)
}
