package acr

import (
	"context"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// batch is the import of one manifest under all its tags at one registry. The first import runs it, the others wait.
type batch struct {
	done chan struct{}
	// left are the targets that have not joined the batch.
	left     map[image.Reference]bool
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
	key += "\n" + order.Since.String() // a run does not join what an earlier one has left
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
	if b != nil && b.left[order.Target] { // otherwise it is of other tags
		delete(b.left, order.Target)
		if len(b.left) == 0 {
			delete(e.batches, key)
		}
		return b, false
	}
	next := &batch{done: make(chan struct{}), left: map[image.Reference]bool{}}
	for _, m := range order.Alike {
		if m.Target != order.Target {
			next.left[m.Target] = true
		}
	}
	if delete(e.batches, key); len(next.left) > 0 {
		e.batches[key] = next
	}
	return next, true
}

// members are the targets of a batch.
func members(order mirror.Order) []mirror.Alike {
	if len(order.Alike) == 0 {
		return []mirror.Alike{{Target: order.Target, Was: order.Was}}
	}
	return order.Alike
}
