package ratelimit

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
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
	err := g.options.Store.Change(ctx, a.name(), func(raw []byte, now time.Time) []byte {
		kept := read(raw)
		g.mu.Lock()
		defer g.unlock()
		if a.seen = kept.Readings; !a.Known { // otherwise an answer has come meanwhile
			a.seen = -1
		}
		rule, sent := g.options.Rule(a.registry), a.unsent
		a.unsent = unsent{}
		a.accept(a.merge(kept, sent, g.token, rule, now), rule, now)
		a.unsent = sent
		if kept.Known {
			g.learned.Store(a.registry, true)
		}
		return nil
	})
	if err != nil {
		g.options.Log.LogAttrs(ctx, slog.LevelWarn, "what was known of a rate limit cannot be read", slog.String("registry", a.registry), slog.Any("err", err))
	}
}

// read reads a saved state; what cannot be one is empty.
func read(raw []byte) *budget {
	var kept budget
	if raw == nil || json.Unmarshal(raw, &kept) != nil || kept.Remaining < 0 || kept.Window < 0 || kept.Window > maxWindow {
		return &budget{}
	}
	return &kept
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
		a.next, a.unsaved = nil, false
		g.unlock()
		g.put(a)
		close(done)
	}
}

// put merges a budget with its saved state, and sets pulls aside.
func (g *Governor) put(a *account) {
	ctx, cancel := context.WithTimeout(context.Background(), max(storePatience, g.options.Patience))
	defer cancel()
	var m merged
	var sent unsent
	rule := g.options.Rule(a.registry)
	err := g.options.Store.Change(ctx, a.name(), func(raw []byte, now time.Time) []byte {
		kept := read(raw)
		g.mu.Lock()
		sent.fresh, sent.lost = sent.fresh.add(a.fresh), sent.lost+a.lost
		a.unsent = unsent{}
		m = a.merge(kept, sent, g.token, rule, now)
		a.granted, a.used, a.asked = min(a.granted-a.used, m.grant), 0, time.Now() // until it is known which of the two holds
		g.unlock()
		state := *m.budget
		state.Allotments = maps.Clone(state.Allotments)
		if m.grant > 0 {
			if state.Allotments == nil {
				state.Allotments = map[string]allotment{}
			}
			state.Allotments[g.token] = allotment{Until: now.Add(lease), Left: m.grant}
		}
		raw, _ = json.Marshal(state) // it has nothing that cannot be written
		return raw
	})
	g.mu.Lock()
	defer g.unlock()
	a.failed = err != nil
	if err == nil {
		a.accept(m, rule, time.Now())
		a.granted = m.grant
	} else {
		a.fresh, a.lost = a.fresh.add(sent.fresh), a.lost+sent.lost
		a.expire("", time.Now())
		a.unsaved = true
		if a.needed() == 0 {
			a.granted = 0 // it ends by itself
		}
		g.say(slog.LevelDebug, "what is known of a rate limit cannot be kept", slog.String("registry", a.registry), slog.Any("err", err))
	}
	a.wake()
	g.tend(a)
}

// tend sees to it that what is set aside is extended while it is needed, and returned afterwards, and looks for what others return.
func (g *Governor) tend(a *account) {
	if a.timer != nil || g.closed || a.granted <= 0 && (a.waiting == 0 || a.allotted() == 0) {
		return
	}
	a.timer = time.AfterFunc(settleEvery, func() {
		g.mu.Lock()
		defer g.unlock()
		a.timer = nil
		now, needed := time.Now(), a.needed()
		idle := a.granted > needed && now.Sub(a.took) >= settleEvery
		if idle || needed > 0 && now.Sub(a.asked) >= renewAfter || a.waiting > 0 && a.allotted() > 0 {
			g.save(a, true, now)
		}
		g.tend(a)
	})
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

// Keep saves what is unsaved and returns what is set aside, since the store is about to be closed.
func (g *Governor) Keep() {
	g.mu.Lock()
	g.closed = true
	var writing []<-chan struct{}
	for _, a := range g.budgets {
		writing = append(writing, a.ready) // what is being read is not needed any more, but the store is
		a.took = time.Time{}               // nothing ahead any more
		if a.unsaved || a.granted > 0 {
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
