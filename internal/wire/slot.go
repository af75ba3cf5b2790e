package wire

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/draysync/dray/internal/worktime"
)

// slot is one request's slot among those in flight. While the other side of a copy has its turn, and is silent or slow, it is lent to
// others: an upload whose source trickles, or a download whose target does, keeps nobody else from the registry.
type slot struct {
	window *window
	party  party
	worked func() // ends what is noted of the time that it is held

	mu   sync.Mutex
	held bool
	over bool
	// credit is how long the other side may still take before the slot is lent. Its time spends it, and its bytes restore it.
	credit time.Duration
	timer  *time.Timer
	since  time.Time // when the turn of the other side began; zero while it is not its turn
}

const (
	// lendAfter is how long the other side may take before its slot is lent, and fastEnough how many bytes a second keep it.
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

// enter waits for a slot in a window.
func (w *window) enter(ctx context.Context, of party, due time.Time) (*slot, error) {
	if err := w.acquire(ctx, of, due); err != nil {
		return nil, err
	}
	s := &slot{window: w, party: of, held: true, worked: worktime.Work(ctx), credit: lendAfter}
	s.timer = time.AfterFunc(time.Hour, s.lend)
	s.timer.Stop()
	return s, nil
}

// rest says that the other side's turn begins.
func (s *slot) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.since = time.Now()
	if s.credit > 0 {
		s.timer.Reset(s.credit)
	} else {
		s.give()
	}
}

// lend is called by the timer: the other side takes its time.
func (s *slot) lend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.since.IsZero() {
		s.give()
	}
}

// give gives the slot back. The lock is held.
func (s *slot) give() {
	if s.held {
		s.held = false
		s.worked()
		s.window.release(s.party.share)
	}
}

// resume says that the other side's turn has ended, and how many bytes it has brought or taken. Where the slot was lent it waits for another;
// left is how many bytes are still to be sent.
func (s *slot) resume(ctx context.Context, moved int, left int64) error {
	s.mu.Lock()
	s.timer.Stop()
	if !s.since.IsZero() {
		s.credit -= time.Since(s.since)
		s.since = time.Time{}
	}
	s.credit += time.Duration(moved) * time.Second / fastEnough
	s.credit = min(max(s.credit, -lendAfter), lendAfter)
	if s.held || s.over {
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if err := s.window.acquire(ctx, s.party.earlier(), due(left)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worked = worktime.Work(ctx)
	if s.held = true; s.over {
		s.give()
	}
	return nil
}

// end gives the slot back for good.
func (s *slot) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.timer.Stop()
	s.give()
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

// Share has the requests of a context share their slots with others of the name, and with nobody else: each share gets its part of what a
// registry takes at once.
func Share(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, partyKey{}, party{share: name})
}

// ShareInTurn is Share for what has a name of its own, and is to be finished before what begins later, where there are few slots.
func ShareInTurn(ctx context.Context, share, name string) context.Context {
	return context.WithValue(ctx, partyKey{}, party{share: share, begun: time.Now(), name: name})
}

func partyOf(ctx context.Context) party {
	p, _ := ctx.Value(partyKey{}).(party)
	return p
}
