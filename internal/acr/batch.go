package acr

import (
	"context"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// batch is the import of one manifest under all its tags at one registry. The first import runs it, the others wait.
type batch struct {
	done chan struct{}
	// since is the run's.
	since time.Time
	// taken are the targets that have joined the batch.
	taken    map[image.Reference]bool
	outcomes map[image.Reference]outcome
}

// outcome is the outcome of a batch for one target.
type outcome struct {
	digest image.Digest
	kept   bool
	// unverified says that the target could not be read.
	unverified bool
	err        error
}

// together runs an import in one batch with the others of the same manifest.
func (e *Engine) together(ctx context.Context, order mirror.Order) (mirror.Receipt, error) {
	key := order.Job + "\n" + order.Source.Repository.Digest(order.Source.Digest).String() + "\n" + order.Target.Registry
	if order.Source.Digest == "" {
		key = order.Job + "\n" + order.Source.String() + "\n" + order.Target.Registry
	}
	if order.RefuseMoved { // tags that must not move share batches only with each other
		key += "\n!"
	}
	b, mine := e.join(key, order)
	if mine {
		b.outcomes = e.bring(ctx, order, members(order))
		close(b.done)
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		return mirror.Receipt{}, context.Cause(ctx)
	}
	got := b.outcomes[order.Target]
	receipt := mirror.Receipt{Digest: got.digest, Unverified: got.unverified}
	receipt.Kept = got.err == nil && (got.kept || order.ResolveServer && !got.unverified && got.digest == order.Was)
	return receipt, got.err
}

// join returns the batch of an import, and whether the caller must run it. An import that is retried has failed before, and gets a new batch.
func (e *Engine) join(key string, order mirror.Order) (b *batch, mine bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b = e.batches[key]
	if b != nil && b.since.Equal(order.Since) && !b.taken[order.Target] { // an earlier run may have ended before all had joined
		b.taken[order.Target] = true
		e.leave(key, b, order)
		return b, false
	}
	next := &batch{done: make(chan struct{}), since: order.Since, taken: map[image.Reference]bool{order.Target: true}}
	e.batches[key] = next
	e.leave(key, next, order)
	return next, true
}

// leave forgets a batch that all its targets have joined.
func (e *Engine) leave(key string, b *batch, order mirror.Order) {
	if len(b.taken) >= len(order.Alike) && e.batches[key] == b {
		delete(e.batches, key)
	}
}

// members are the targets of a batch.
func members(order mirror.Order) []mirror.Alike {
	if len(order.Alike) == 0 {
		return []mirror.Alike{{Target: order.Target, Was: order.Was}}
	}
	return order.Alike
}
