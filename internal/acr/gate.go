package acr

import (
	"context"
	"sync"
	"time"

	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/worktime"
)

// gate keeps imports within Azure's limits: concurrent imports per registry, and requests per second. It remembers which sources refuse
// Azure for a while, and until when Azure itself asks for a pause.
type gate struct {
	parallel int
	rate     int

	mu         sync.Mutex
	registries map[string]chan struct{}
	turn       time.Time // time of the next request that starts an import
	slow       bool      // the subscription has few writes left
	paused     time.Time // until when Azure wants no requests
	sources    map[string]time.Time
}

const (
	// fewWrites is the number of remaining writes of the subscription at which the request rate is halved.
	fewWrites = 20
	// sourceRests is the minimum pause after a source refused Azure more pulls.
	sourceRests = 15 * time.Minute
)

func newGate(parallel, rate int) *gate {
	return &gate{parallel: max(1, parallel), rate: max(1, rate), registries: map[string]chan struct{}{}, sources: map[string]time.Time{}}
}

// enter waits for one of the slots of a registry; leave releases it.
func (g *gate) enter(ctx context.Context, registry string) (leave func(), err error) {
	g.mu.Lock()
	slots := g.registries[registry]
	if slots == nil {
		slots = make(chan struct{}, g.parallel)
		g.registries[registry] = slots
	}
	g.mu.Unlock()
	defer worktime.Wait(ctx)()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// start waits until an import may be requested.
func (g *gate) start(ctx context.Context) error {
	for {
		g.mu.Lock()
		now := time.Now()
		at := now
		if g.paused.After(at) {
			at = g.paused
		}
		if g.turn.After(at) {
			at = g.turn
		}
		if !at.After(now) {
			every := time.Second / time.Duration(g.rate)
			if g.slow {
				every *= 2
			}
			g.turn = now.Add(every)
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		if err := backoff.Sleep(ctx, at.Sub(now)); err != nil {
			return err
		}
	}
}

// heard reads from an answer how many more requests Azure accepts.
func (g *gate) heard(op azure.Operation) {
	if op.RemainingWrites < 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slow = op.RemainingWrites < fewWrites
}

// pause stops all import requests until a time.
func (g *gate) pause(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(d); until.After(g.paused) {
		g.paused = until
	}
}

// refused records that a source allows Azure no pulls for a while.
func (g *gate) refused(source string, d time.Duration) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	until := time.Now().Add(max(d, sourceRests))
	if until.After(g.sources[source]) {
		g.sources[source] = until
	}
	return g.sources[source]
}

// rests returns until when a source allows Azure no pulls; zero if it allows some now.
func (g *gate) rests(source string) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := g.sources[source]; until.After(time.Now()) {
		return until
	}
	return time.Time{}
}
