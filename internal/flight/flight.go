// Package flight runs a function once for several callers that wait for its result.
package flight

import (
	"context"
	"sync"
)

// Group makes values by key. The zero value is ready for use.
type Group[T any] struct {
	mu     sync.Mutex
	flying map[string]*flight[T]
}

// flight is a call of make under way.
type flight[T any] struct {
	cancel  context.CancelFunc
	ended   chan struct{}
	value   T
	err     error
	waiting int
}

// Do returns the result of make, or of the call for the same key that is under way. Each caller waits until its own context ends; make
// continues while anyone waits, with the values of the first caller's context.
func (g *Group[T]) Do(ctx context.Context, key string, make func(context.Context) (T, error)) (T, error) {
	f := g.join(ctx, key, make)
	select {
	case <-f.ended:
		return f.value, f.err
	case <-ctx.Done():
		g.leave(key, f)
		var none T
		return none, context.Cause(ctx)
	}
}

func (g *Group[T]) join(ctx context.Context, key string, make func(context.Context) (T, error)) *flight[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	f, ok := g.flying[key]
	if ok {
		f.waiting++
		return f
	}
	f = &flight[T]{ended: newSignal(), waiting: 1}
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if g.flying == nil {
		g.flying = map[string]*flight[T]{}
	}
	g.flying[key] = f
	go func() {
		defer f.cancel()
		f.value, f.err = make(ctx)
		g.land(key, f)
		close(f.ended)
	}()
	return f
}

func newSignal() chan struct{} { return make(chan struct{}) }

// land removes a finished flight.
func (g *Group[T]) land(key string, f *flight[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flying[key] == f {
		delete(g.flying, key)
	}
}

// leave cancels a flight for which no one waits any more.
func (g *Group[T]) leave(key string, f *flight[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	if g.flying[key] == f {
		delete(g.flying, key)
	}
	f.cancel()
}
