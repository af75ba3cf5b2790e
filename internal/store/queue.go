package store

import (
	"context"
	"slices"
	"sync"
)

// togetherMost is how many statements of several writers go into one transaction: enough for a thousand jobs that end at once, and few enough
// that other processes soon get their turn.
const togetherMost = 1000

// queue has the writers of this process wait in order, as [sql.DB] serves those that wait for its connection at random. What waits
// together is written together: one transaction of many takes little longer than one of a single writer.
type queue struct {
	mu      sync.Mutex
	waiting []*entry
	idle    chan struct{} // closed when nobody writes any more; nil if nobody does
}

// entry is what one writer waits for.
type entry struct {
	ctx  context.Context //nolint:containedctx // of the writer, for the transaction that may be its own
	list []statement
	once bool

	changed int64
	err     error
	done    chan struct{}
}

func (e *entry) end(changed int64, err error) {
	e.changed, e.err = changed, err
	close(e.done)
}

// write executes a list as [dialect] says. A writer that leaves before its turn has written nothing; one that leaves later may have.
func (q *queue) write(e *entry, write func([]*entry)) (changed int64, err error) {
	q.mu.Lock()
	q.waiting = append(q.waiting, e)
	if q.idle == nil {
		q.idle = make(chan struct{})
		go q.serve(write)
	}
	q.mu.Unlock()
	select {
	case <-e.done:
		return e.changed, e.err
	case <-e.ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(other *entry) bool { return other == e })
	return 0, e.ctx.Err()
}

// wait waits until nobody writes.
func (q *queue) wait(ctx context.Context) {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// serve lets writers write until none waits.
func (q *queue) serve(write func([]*entry)) {
	for {
		next := q.next()
		if len(next) == 0 {
			return
		}
		write(next)
	}
}

// next takes those that write together.
func (q *queue) next() []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, statements := 0, 0
	for n < len(q.waiting) && (n == 0 || statements+len(q.waiting[n].list) <= togetherMost) {
		statements += len(q.waiting[n].list)
		n++
	}
	next := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	if n == 0 {
		close(q.idle)
		q.idle = nil
	}
	return next
}
