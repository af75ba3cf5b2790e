package wire

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/draysync/dray/internal/worktime"
)

// slot is one request's slot among those in flight. While the other side of a copy is due and silent or slow, the slot is lent to others:
// neither an upload with a trickling source nor a download with a trickling target keeps others from the registry.
type slot struct {
	window *window
	party  party
	worked func() // stops the clock of the time that it is held

	mu   sync.Mutex
	held bool
	over bool
	// credit is how long the other side may still take before the slot is lent. Waiting spends it, bytes restore it.
	credit time.Duration
	timer  *time.Timer
	since  time.Time // when the other side's turn began; zero outside its turn
}

const (
	// lendAfter is how long the other side may take before the slot is lent; a rate of fastEnough bytes per second keeps it.
	lendAfter  = 50 * time.Millisecond
	fastEnough = 1 << 20
	// sentInASecond is the assumed upload rate by which requests are ordered. longestLast limits what a large request loses by that, so
	// that a stream of small requests cannot starve it.
	sentInASecond = 8 << 20
	longestLast   = 30 * time.Second
	// few is the number of slots up to which one import finishes before the next begins: with more slots, a large image would keep the
	// small ones from all of them.
	few = 4
)

// due estimates when a request with so many bytes left would be done: what is nearly done goes first.
func due(bytes int64) time.Time {
	return time.Now().Add(min(longestLast, time.Duration(float64(max(bytes, 0))/sentInASecond*float64(time.Second))))
}

// enter waits for a slot in the window.
func (w *window) enter(ctx context.Context, of party, due time.Time) (*slot, error) {
	if err := w.acquire(ctx, of, due); err != nil {
		return nil, err
	}
	s := &slot{window: w, party: of, held: true, worked: worktime.Work(ctx), credit: lendAfter}
	s.timer = time.AfterFunc(time.Hour, s.lend)
	s.timer.Stop()
	return s, nil
}

// rest begins the other side's turn.
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

// lend runs when the credit is spent.
func (s *slot) lend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.since.IsZero() {
		s.give()
	}
}

// give releases the slot. The caller holds the lock.
func (s *slot) give() {
	if s.held {
		s.held = false
		s.worked()
		s.window.release(s.party)
	}
}

// resume ends the other side's turn, in which it brought or took moved bytes. If the slot was lent, resume waits for another; left is the
// number of bytes still to send.
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

// end releases the slot for good.
func (s *slot) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.timer.Stop()
	s.give()
}

// party identifies for whom a request is sent.
type party struct {
	share, job string
	// begun is the start of an import. Its requests go before those of later imports, and among equally old ones in the order of their
	// names; zero for requests without such an order.
	begun time.Time
	name  string
	// underWay marks a request that was sent before: it goes before those that were not.
	underWay bool
}

// compare orders parties: the one that goes first is less.
func (p party) compare(other party) int {
	switch {
	case p.underWay != other.underWay && p.underWay:
		return -1
	case p.underWay != other.underWay:
		return 1
	}
	return cmp.Or(p.begun.Compare(other.begun), cmp.Compare(p.name, other.name))
}

// earlier returns the party of a request that is under way.
func (p party) earlier() party {
	p.underWay = true
	return p
}

// partyKey is the context key of a party.
type partyKey struct{}

// Share puts the requests of a context, which are for a job, into the share of that name. Each share gets an equal part of a registry's slots, and
// each job an equal part of its share's.
func Share(ctx context.Context, name, job string) context.Context {
	return context.WithValue(ctx, partyKey{}, party{share: name, job: job})
}

// ShareInTurn is Share for an import, whose requests go before those of later imports if slots are few.
func ShareInTurn(ctx context.Context, share, job, name string) context.Context {
	return context.WithValue(ctx, partyKey{}, party{share: share, job: job, begun: time.Now(), name: name})
}

func partyOf(ctx context.Context) party {
	p, _ := ctx.Value(partyKey{}).(party)
	return p
}
