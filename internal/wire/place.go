package wire

import (
	"context"
	"sync"
	"time"

	"github.com/draysync/dray/internal/worktime"
)

// place is one request's place among those in flight. While the other side of a copy has its turn, and is silent or slow, it is lent to
// others: an upload whose source trickles, or a download whose target does, keeps nobody else from the registry.
type place struct {
	window *window
	share  string
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
	// underWay is how much earlier those come that are under way already.
	underWay = time.Hour
)

// due is when a request would be done that has so many bytes to send: what is nearly done goes first.
func due(bytes int64) time.Time {
	return time.Now().Add(min(longestLast, time.Duration(float64(max(bytes, 0))/sentInASecond*float64(time.Second))))
}

// enter waits for a place in a window.
func (w *window) enter(ctx context.Context, share string, due time.Time) (*place, error) {
	if err := w.acquire(ctx, share, due); err != nil {
		return nil, err
	}
	p := &place{window: w, share: share, held: true, worked: worktime.Work(ctx), credit: lendAfter}
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
		p.window.release(p.share)
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
	if err := p.window.acquire(ctx, p.share, due(left).Add(-underWay)); err != nil {
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

// shareKey is the key of a share in a context.
type shareKey struct{}

// Share has the requests of a context share their places with one another, and with nobody else: each share gets its part of what a registry
// takes at once.
func Share(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, shareKey{}, name)
}

func shareOf(ctx context.Context) string {
	name, _ := ctx.Value(shareKey{}).(string)
	return name
}
