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
// others have; within a share likewise to the job that holds the fewest.
type window struct {
	most int
	// sharers returns how many processes share most; nil for one.
	sharers func() int

	mu     sync.Mutex
	size   float64
	flying int
	shares map[string]*share // those that hold a slot or wait for one
	served int               // slots given, and shares and jobs added
	cut    time.Time         // time of the last halving
}

// share is a group of requests that share slots.
type share struct {
	turn
	jobs map[string]*job // those that hold a slot or wait for one
}

// job is the part of a share's requests that one job has.
type job struct {
	turn
	waiting waiters
}

// turn says whose turn it is.
type turn struct {
	flying int // slots held
	last   int // value of served when it last got a slot, or was added
}

// before reports whether the next slot belongs to t rather than to other: it holds fewer, or has waited longer.
func (t turn) before(other turn) bool {
	return cmp.Or(cmp.Compare(t.flying, other.flying), cmp.Compare(t.last, other.last)) < 0
}

// waiter is a request that waits for a slot.
type waiter struct {
	given chan struct{}
	party party
	due   time.Time // within one party the earliest goes first
	index int       // in the heap; -1 once it was given
}

// epoch is how long answers to requests sent before a halving may still arrive: one overload halves the window once.
const epoch = 200 * time.Millisecond

// part returns the part of the limit that is this process's own now: at least one request, so that it goes on.
func (w *window) part() int {
	if w.sharers == nil {
		return w.most
	}
	return max(1, w.most/max(1, w.sharers()))
}

func newWindow(start, most int) *window {
	return &window{most: most, size: float64(min(start, most)), shares: map[string]*share{}}
}

// acquire waits for a slot.
func (w *window) acquire(ctx context.Context, of party, due time.Time) error {
	of = w.known(of)
	w.mu.Lock()
	own := &waiter{given: make(chan struct{}), party: of, due: due}
	heap.Push(&w.job(of).waiting, own)
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
		w.leave(of)
	} else {
		heap.Remove(&w.shares[of.share].jobs[of.job].waiting, own.index)
		w.forget(of)
	}
	return ctx.Err()
}

// known returns what this window tells apart. With few slots imports are finished one after the other, whichever job they are of; with more,
// jobs share them.
func (w *window) known(of party) party {
	if w.most <= few {
		of.job = ""
	} else {
		of.begun, of.name = time.Time{}, ""
	}
	return of
}

// job returns the job of a party, which it adds if needed. The caller holds the lock.
func (w *window) job(of party) *job {
	s := w.shares[of.share]
	if s == nil {
		w.served++
		s = &share{turn: turn{last: w.served}, jobs: map[string]*job{}}
		w.shares[of.share] = s
	}
	j := s.jobs[of.job]
	if j == nil {
		w.served++
		j = &job{turn: turn{last: w.served}}
		s.jobs[of.job] = j
	}
	return j
}

// release returns a slot.
func (w *window) release(of party) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leave(w.known(of))
}

// leave is release with the lock held.
func (w *window) leave(of party) {
	s := w.shares[of.share]
	w.flying--
	s.flying--
	s.jobs[of.job].flying--
	w.admit()
	w.forget(of)
}

// forget drops an unused job, and its share if that has no other. The caller holds the lock.
func (w *window) forget(of party) {
	s := w.shares[of.share]
	if j := s.jobs[of.job]; j.flying == 0 && len(j.waiting) == 0 {
		delete(s.jobs, of.job)
	}
	if len(s.jobs) == 0 {
		delete(w.shares, of.share)
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
	w.size = max(1, min(w.size, float64(w.part()))/2)
}

// admit gives free slots to waiting requests. The caller holds the lock.
func (w *window) admit() {
	for most := min(int(w.size), w.part()); w.flying < most; {
		s, j := w.next()
		if s == nil {
			return
		}
		first := j.waiting[0]
		heap.Pop(&j.waiting)
		w.served++
		w.flying++
		for _, t := range []*turn{&s.turn, &j.turn} {
			t.last = w.served
			t.flying++
		}
		close(first.given)
	}
}

// next returns the share and the job to which the next slot goes; nil if none waits.
func (w *window) next() (first *share, of *job) {
	for _, s := range w.shares {
		if j := s.next(); j != nil && (first == nil || s.before(first.turn)) {
			first, of = s, j
		}
	}
	return first, of
}

// next returns the job to which the next slot goes; nil if none waits.
func (s *share) next() (first *job) {
	for _, j := range s.jobs {
		if len(j.waiting) > 0 && (first == nil || j.before(first.turn)) {
			first = j
		}
	}
	return first
}

// waiters is a priority queue (container/heap).
type waiters []*waiter

// Len, Less, Swap, Push and Pop implement container/heap.
func (t waiters) Len() int { return len(t) }

// Less orders by party, then by due time.
func (t waiters) Less(i, j int) bool {
	return cmp.Or(t[i].party.compare(t[j].party), t[i].due.Compare(t[j].due)) < 0
}

// Swap swaps two waiters.
func (t waiters) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push appends a turn.
func (t *waiters) Push(x any) {
	own := x.(*waiter) //nolint:forcetypeassert // only waiters are pushed
	own.index = len(*t)
	*t = append(*t, own)
}

// Pop removes the last turn.
func (t *waiters) Pop() any {
	last := len(*t) - 1
	own := (*t)[last]
	own.index = -1
	*t = (*t)[:last]
	return own
}
