package acr

import (
	"context"
	"sync"
	"time"

	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/worktime"
)

// gate keeps imports within what Azure takes: so many at once for each registry, and so many that are asked for in a second. It knows
// which sources have refused Azure for a while, and when Azure itself wants a pause.
type gate struct {
	parallel int
	rate     int

	mu         sync.Mutex
	registries map[string]chan struct{}
	turn       time.Time // of the next request that starts an import
	slow       bool      // few writes are left of the subscription's
	paused     time.Time // until when Azure wants no requests
	sources    map[string]time.Time
}

const (
	// fewWrites is how many writes of the subscription are left when only half as many imports are asked for.
	fewWrites = 20
	// sourceRests is the least for which a source is left alone that has refused Azure for the number of pulls.
	sourceRests = 15 * time.Minute
)

func newGate(parallel, rate int) *gate {
	return &gate{parallel: max(1, parallel), rate: max(1, rate), registries: map[string]chan struct{}{}, sources: map[string]time.Time{}}
}

// enter waits for one of the slots of a registry; leave gives it back.
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

// start waits until an import may be asked for.
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

// heard takes in what an answer says of how much more Azure takes.
func (g *gate) heard(op azure.Operation) {
	if op.RemainingWrites < 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slow = op.RemainingWrites < fewWrites
}

// pause keeps all imports from being asked for.
func (g *gate) pause(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(d); until.After(g.paused) {
		g.paused = until
	}
}

// refused notes that a source allows Azure no more pulls for a while.
func (g *gate) refused(source string, d time.Duration) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	until := time.Now().Add(max(d, sourceRests))
	if until.After(g.sources[source]) {
		g.sources[source] = until
	}
	return g.sources[source]
}

// rests returns until when a source is left alone; zero where it is not.
func (g *gate) rests(source string) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := g.sources[source]; until.After(time.Now()) {
		return until
	}
	return time.Time{}
}
