package wire

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/draysync/dray/internal/worktime"
)

// place is one request's place among those in flight. While the other side of a copy has its turn, and is silent or slow, it is lent to
// others: an upload whose source trickles, or a download whose target does, keeps nobody else from the registry.
type place struct {
	window *window
	party  party
	worked func() // ends what is noted of the time that it is held

	mu   sync.Mutex
	held bool
	over bool
	// credit is how long the other side may still take before the place is lent. Its time spends it, and its bytes restore it.
	credit time.Duration
	timer  *time.Timer
	since  time.Time // when the turn of the other side began; zero while it is not its turn
}

const (
	// lendAfter is how long the other side may take before its place is lent, and fastEnough how many bytes a second keep it.
	lendAfter  = 50 * time.Millisecond
	fastEnough = 1 << 20
	// sentInASecond is how many bytes are thought to be sent in a second where it is asked what is done first. Nothing waits longer on that
	// account than longestLast, so that no stream of small requests holds up a large one.
	sentInASecond = 8 << 20
	longestLast   = 30 * time.Second
	// few is how many requests at once are so few that one import is finished before the next: with more, a large image would keep the small
	// ones from all of them.
	few = 4
)

// due is when a request would be done that has so many bytes to send: what is nearly done goes first.
func due(bytes int64) time.Time {
	return time.Now().Add(min(longestLast, time.Duration(float64(max(bytes, 0))/sentInASecond*float64(time.Second))))
}

// enter waits for a place in a window.
func (w *window) enter(ctx context.Context, of party, due time.Time) (*place, error) {
	if err := w.acquire(ctx, of, due); err != nil {
		return nil, err
	}
	p := &place{window: w, party: of, held: true, worked: worktime.Work(ctx), credit: lendAfter}
	p.timer = time.AfterFunc(time.Hour, p.lend)
	p.timer.Stop()
	return p, nil
}

// rest says that the other side's turn begins.
func (p *place) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.since = time.Now()
	if p.credit > 0 {
		p.timer.Reset(p.credit)
	} else {
		p.give()
	}
}

// lend is called by the timer: the other side takes its time.
func (p *place) lend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since.IsZero() {
		p.give()
	}
}

// give gives the place back. The lock is held.
func (p *place) give() {
	if p.held {
		p.held = false
		p.worked()
		p.window.release(p.party.share)
	}
}

// resume says that the other side's turn has ended, and how many bytes it has brought or taken. Where the place was lent it waits for another;
// left is how many bytes are still to be sent.
func (p *place) resume(ctx context.Context, moved int, left int64) error {
	p.mu.Lock()
	p.timer.Stop()
	if !p.since.IsZero() {
		p.credit -= time.Since(p.since)
		p.since = time.Time{}
	}
	p.credit += time.Duration(moved) * time.Second / fastEnough
	p.credit = min(max(p.credit, -lendAfter), lendAfter)
	if p.held || p.over {
		p.mu.Unlock()
		return nil
	}
	p.mu.Unlock()
	if err := p.window.acquire(ctx, p.party.earlier(), due(left)); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.worked = worktime.Work(ctx)
	if p.held = true; p.over {
		p.give()
	}
	return nil
}

// end gives the place back for good.
func (p *place) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
	p.give()
}

// party is who a request is sent for.
type party struct {
	share string
	// begun is when an import was, whose requests come before those of later ones, and of as old ones by their names; zero for what is in no
	// such order.
	begun time.Time
	name  string
	// underWay is set for a request that was sent before: it comes before those that were not.
	underWay bool
}

// compare orders by whose requests come first.
func (p party) compare(other party) int {
	switch {
	case p.underWay != other.underWay && p.underWay:
		return -1
	case p.underWay != other.underWay:
		return 1
	}
	return cmp.Or(p.begun.Compare(other.begun), cmp.Compare(p.name, other.name))
}

// earlier is the party for what is under way already.
func (p party) earlier() party {
	p.underWay = true
	return p
}

// partyKey is the key of a party in a context.
type partyKey struct{}

// Share has the requests of a context share their places with others of the name, and with nobody else: each share gets its part of what a
// registry takes at once.
func Share(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, partyKey{}, party{share: name})
}

// ShareInTurn is Share for what has a name of its own, and is to be finished before what begins later, where there are few places.
func ShareInTurn(ctx context.Context, share, name string) context.Context {
	return context.WithValue(ctx, partyKey{}, party{share: share, begun: time.Now(), name: name})
}

func partyOf(ctx context.Context) party {
	p, _ := ctx.Value(partyKey{}).(party)
	return p
}
