// Package flight has one caller's goroutine make what several wait for.
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

// flight is a value under way.
type flight[T any] struct {
	cancel  context.CancelFunc
	ended   chan struct{}
	value   T
	err     error
	waiting int
}

// Do returns what make makes, or what it is making for somebody else now. Each caller waits as long as its own context lasts; make goes on
// while anybody waits, with the values of the first caller's context.
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

// land takes a flight out of those under way.
func (g *Group[T]) land(key string, f *flight[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flying[key] == f {
		delete(g.flying, key)
	}
}

// leave ends a flight for which nobody waits any more.
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
