package azure

import (
	"context"
	"sync"
	"time"
)

// granted is a token with its lifetime, by this machine's clock.
type granted struct {
	token string
	from  time.Time
	until time.Time // the token's expiry
}

// refresh returns when to replace the token, lapse when to stop using it.
func (g granted) refresh() time.Time { return g.from.Add(g.until.Sub(g.from) * 4 / 5) }
func (g granted) lapse() time.Time   { return g.from.Add(g.until.Sub(g.from) * 19 / 20) }

// again is the pause before the next attempt to replace a token.
const again = time.Minute

// kept is a token that is fetched when needed, once for all waiting callers, and replaced before it expires.
type kept struct {
	// fetch gets a new token. renew is set if the last one was refused before its expiry, or fetching it failed.
	fetch func(ctx context.Context, renew bool) (granted, error)

	mu      sync.Mutex
	now     granted // its token is empty if there is none
	next    time.Time
	suspect bool
	flight  *fetching
}

// fetching is a fetch under way.
type fetching struct {
	done   chan struct{}
	got    granted
	err    error
	missed bool // the fetching caller gave up
}

// get returns the token. The first caller fetches it, in its own context.
func (k *kept) get(ctx context.Context) (granted, error) {
	for {
		k.mu.Lock()
		now := time.Now()
		usable := k.now.token != "" && now.Before(k.now.lapse())
		f := k.flight
		if usable && (now.Before(k.next) || f != nil) {
			defer k.mu.Unlock()
			return k.now, nil
		}
		if f == nil {
			f = &fetching{done: make(chan struct{})}
			k.flight = f
			renew := k.suspect
			k.mu.Unlock()
			return k.land(ctx, f, renew)
		}
		k.mu.Unlock()
		select {
		case <-f.done:
			if !f.missed {
				return f.got, f.err
			}
		case <-ctx.Done():
			return granted{}, ctx.Err()
		}
	}
}

// land fetches and wakes the waiting callers. If that fails, a token that is still valid stays.
func (k *kept) land(ctx context.Context, f *fetching, renew bool) (granted, error) {
	f.missed = true // in case fetch panics
	defer func() {
		k.mu.Lock()
		k.flight = nil
		k.mu.Unlock()
		close(f.done)
	}()
	f.got, f.err = k.fetch(ctx, renew)
	f.missed = f.err != nil && ctx.Err() != nil
	k.mu.Lock()
	defer k.mu.Unlock()
	if f.err == nil {
		k.now, k.next, k.suspect = f.got, f.got.refresh(), false
		return f.got, nil
	}
	k.suspect = k.suspect || !f.missed
	if now := time.Now(); k.now.token != "" && now.Before(k.now.lapse()) {
		k.next = now.Add(again)
		f.got, f.err, f.missed = k.now, nil, false
	}
	return f.got, f.err
}

// refuse drops a token that was not accepted, unless it has been replaced since.
func (k *kept) refuse(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now.token == token {
		k.now, k.suspect = granted{}, true
	}
}
