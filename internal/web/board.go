package web

import (
	"context"
	"sync"
	"time"
)

// board has the daemon asked for its status once for all who want it at one time.
type board struct {
	daemon Daemon
	limit  time.Duration

	mu   sync.Mutex
	next *reading
}

// reading is a status on its way, which is read-only once done is closed.
type reading struct {
	done   chan struct{}
	status *Status
	err    error
}

// status returns the daemon as it was at some moment of the call, or shortly before it. Nobody may change it.
func (b *board) status(ctx context.Context) (*Status, error) {
	b.mu.Lock()
	r := b.next
	if r == nil {
		r = &reading{done: make(chan struct{})}
		b.next = r
		go b.read(context.WithoutCancel(ctx), r)
	}
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.status, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// read ends when the daemon has answered, or not in time.
func (b *board) read(ctx context.Context, r *reading) {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	status, err := b.daemon.Status(ctx)
	if r.err = err; err == nil {
		status.complete()
		r.status = &status
	}
	b.mu.Lock()
	b.next = nil
	b.mu.Unlock()
	close(r.done)
}
