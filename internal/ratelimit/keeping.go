package ratelimit

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"
)

const (
	// saveEvery is how often the state from answers is saved; a pull is saved at once.
	saveEvery = time.Second
	// storePatience limits one use of the store; writePatience limits how long an answer waits until its pull is saved.
	storePatience = 5 * time.Second
	writePatience = time.Second
)

// keeping is the state of saving a budget. One write runs at a time, so that the last one has the latest state.
type keeping struct {
	saved time.Time
	// unsaved is set while there are unsaved changes.
	unsaved bool
	// next is closed when the requested write has ended; nil for none.
	next chan struct{}
	// writing is closed when no write is left; nil if none is under way.
	writing chan struct{}
}

func (k key) name() string { return k.registry + " " + k.account }

// load reads the saved state of a budget.
func (g *Governor) load(a *account) {
	defer close(a.ready)
	if g.options.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storePatience)
	defer cancel()
	raw, ok, err := g.options.Store.Budget(ctx, a.name())
	if err != nil {
		g.options.Log.LogAttrs(ctx, slog.LevelWarn, "what was known of a rate limit cannot be read", slog.String("registry", a.registry), slog.Any("err", err))
	}
	var kept budget
	if ok && err == nil && json.Unmarshal(raw, &kept) == nil && kept.Remaining >= 0 && kept.Window >= 0 && kept.Window <= maxWindow {
		g.mu.Lock()
		if met := a.budget; met.Known { // an answer has come meanwhile
			met.join(kept.Spent)
		} else {
			kept.underWay, kept.reservations, kept.settled, kept.met = met.underWay, met.reservations, met.settled, met.met
			*met = kept
		}
		g.unlock()
		if kept.Known {
			g.learned.Store(a.registry, true)
		}
	}
}

// save has the state of a budget written, soon if that is due, otherwise later. It returns a channel that is closed when it was written;
// nil if that is later, or never.
func (g *Governor) save(a *account, due bool, now time.Time) (written <-chan struct{}) {
	a.unsaved = true
	if g.options.Store == nil || !due && now.Sub(a.saved) < saveEvery {
		return nil
	}
	a.saved = now
	if a.next == nil {
		a.next = make(chan struct{})
	}
	if a.writing == nil {
		a.writing = make(chan struct{})
		go g.write(a)
	}
	return a.next
}

// write writes the state of a budget as long as that is requested.
func (g *Governor) write(a *account) {
	for {
		g.mu.Lock()
		done := a.next
		if done == nil {
			close(a.writing)
			a.writing = nil
			g.unlock()
			return
		}
		state := *a.budget
		state.Spent = slices.Clone(state.Spent)
		a.next, a.unsaved = nil, false
		g.unlock()
		if err := g.put(a.name(), &state); err != nil {
			g.mu.Lock()
			a.unsaved = true
			g.say(slog.LevelDebug, "what is known of a rate limit cannot be kept", slog.String("registry", a.registry), slog.Any("err", err))
			g.unlock()
		}
		close(done)
	}
}

func (g *Governor) put(name string, state *budget) error {
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storePatience)
	defer cancel()
	return g.options.Store.PutBudget(ctx, name, raw)
}

// await waits until a pull is saved, but not for a store that hangs.
func await(ctx context.Context, written <-chan struct{}, patience time.Duration) {
	if written == nil {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Keep saves what is unsaved, since the store is about to be closed.
func (g *Governor) Keep() {
	g.mu.Lock()
	var writing []<-chan struct{}
	for _, a := range g.budgets {
		writing = append(writing, a.ready) // what is being read is not needed any more, but the store is
		if a.unsaved {
			g.save(a, true, time.Now())
		}
		if a.writing != nil {
			writing = append(writing, a.writing)
		}
	}
	g.unlock()
	ctx, cancel := context.WithTimeout(context.Background(), storePatience)
	defer cancel()
	for _, w := range writing {
		await(ctx, w, storePatience)
	}
}
