package wire

import (
	"cmp"
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/draysync/dray/internal/worktime"
)

// window is a limit on requests in flight that adapts as TCP's window does (RFC 5681). It starts small, grows by one with each answer (slow
// start), and is halved when the registry asks for less. After that it grows by one per full window of answers.
//
// Of the waiting requests, the next slot goes to the share that holds the fewest, so that each share gets its part however many requests
// others have.
type window struct {
	most int

	mu     sync.Mutex
	size   float64
	flying int
	shares map[string]*share // those that hold a slot or wait for one
	served int               // slots given and shares added
	cut    time.Time         // time of the last halving
}

// share is a group of requests that share slots.
type share struct {
	flying  int
	last    int // value of served when it last got a slot, or was added
	waiting turns
}

// turn is a request that waits for a slot.
type turn struct {
	given chan struct{}
	party party
	due   time.Time // within one party the earliest goes first
	index int       // in the heap; -1 once it was given
}

// epoch is how long answers to requests sent before a halving may still arrive: one overload halves the window once.
const epoch = 200 * time.Millisecond

func newWindow(start, most int) *window {
	return &window{most: most, size: float64(min(start, most)), shares: map[string]*share{}}
}

// acquire waits for a slot.
func (w *window) acquire(ctx context.Context, of party, due time.Time) error {
	name := of.share
	if w.most > few {
		of.begun, of.name = time.Time{}, ""
	}
	w.mu.Lock()
	s := w.shares[name]
	if s == nil {
		w.served++
		s = &share{last: w.served}
		w.shares[name] = s
	}
	own := &turn{given: make(chan struct{}), party: of, due: due}
	heap.Push(&s.waiting, own)
	w.admit()
	w.mu.Unlock()
	select {
	case <-own.given:
		return nil
	default:
	}
	defer worktime.Wait(ctx)()
	select {
	case <-own.given:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if own.index < 0 { // given meanwhile: pass it on
		w.leave(name)
	} else {
		heap.Remove(&s.waiting, own.index)
		w.forget(name)
	}
	return ctx.Err()
}

// release returns a slot.
func (w *window) release(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leave(name)
}

// leave is release with the lock held.
func (w *window) leave(name string) {
	w.flying--
	w.shares[name].flying--
	w.admit()
	w.forget(name)
}

// forget drops an unused share. The caller holds the lock.
func (w *window) forget(name string) {
	if s := w.shares[name]; s.flying == 0 && len(s.waiting) == 0 {
		delete(w.shares, name)
	}
}

// answered records that the registry accepted a request. The window grows only while it is full: an unused limit proves nothing.
func (w *window) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flying >= int(w.size) && w.size < float64(w.most) {
		step := 1.0
		if !w.cut.IsZero() {
			step = 1 / w.size
		}
		w.size = min(w.size+step, float64(w.most))
		w.admit()
	}
}

// overloaded records that the registry asked for less.
func (w *window) overloaded(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.cut) < epoch {
		return
	}
	w.cut = now
	w.size = max(1, w.size/2)
}

// admit gives free slots to waiting requests. The caller holds the lock.
func (w *window) admit() {
	for w.flying < int(w.size) {
		s := w.next()
		if s == nil {
			return
		}
		first := s.waiting[0]
		heap.Pop(&s.waiting)
		w.served++
		s.last = w.served
		s.flying++
		w.flying++
		close(first.given)
	}
}

// next returns the share with the fewest slots among those that want one; of equal ones, the one served longest ago.
func (w *window) next() (first *share) {
	for _, s := range w.shares {
		if len(s.waiting) > 0 && (first == nil || cmp.Or(cmp.Compare(s.flying, first.flying), cmp.Compare(s.last, first.last)) < 0) {
			first = s
		}
	}
	return first
}

// turns is a priority queue (container/heap).
type turns []*turn

// Len, Less, Swap, Push and Pop implement container/heap.
func (t turns) Len() int { return len(t) }

// Less orders by party, then by due time.
func (t turns) Less(i, j int) bool {
	return cmp.Or(t[i].party.compare(t[j].party), t[i].due.Compare(t[j].due)) < 0
}

// Swap swaps two turns.
func (t turns) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push appends a turn.
func (t *turns) Push(x any) {
	own := x.(*turn) //nolint:forcetypeassert // only turns are pushed
	own.index = len(*t)
	*t = append(*t, own)
}

// Pop removes the last turn.
func (t *turns) Pop() any {
	last := len(*t) - 1
	own := (*t)[last]
	own.index = -1
	*t = (*t)[:last]
	return own
}
