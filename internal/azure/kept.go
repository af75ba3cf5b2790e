package azure

import (
	"context"
	"sync"
	"time"
)

// granted is a token and how long it is good for. Times are those of this machine's clock.
type granted struct {
	token string
	from  time.Time
	until time.Time // as the token has it
}

// refresh is when the token is to be replaced, and lapse from when on it is not used any more.
func (g granted) refresh() time.Time { return g.from.Add(g.until.Sub(g.from) * 4 / 5) }
func (g granted) lapse() time.Time   { return g.from.Add(g.until.Sub(g.from) * 19 / 20) }

// again is how long a token that could not be replaced is used before the next try.
const again = time.Minute

// kept is a token that is fetched when needed, once for all who wait for it, and replaced before it lapses.
type kept struct {
	// fetch gets a new token. renew is set when the last one was refused though it had not lapsed, or could not be had.
	fetch func(ctx context.Context, renew bool) (granted, error)

	mu      sync.Mutex
	now     granted // its token is empty where there is none
	next    time.Time
	suspect bool
	flight  *fetching
}

// fetching is a fetch under way.
type fetching struct {
	done   chan struct{}
	got    granted
	err    error
	missed bool // the one who fetched went away
}

// get returns the token; whoever comes first fetches it, in its own context.
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

// land fetches and tells those who wait. A token that is still good outlives a failure.
func (k *kept) land(ctx context.Context, f *fetching, renew bool) (granted, error) {
	f.missed = true // should fetch panic
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

// refuse drops a token that was not accepted; a newer one stays.
func (k *kept) refuse(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now.token == token {
		k.now, k.suspect = granted{}, true
	}
}
