package mirror

import (
	"cmp"
	containerheap "container/heap"
	"context"
	"sync"
	"sync/atomic"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/wire"
)

// lane is what goes from one registry to another.
type lane struct{ source, target string }

// shared has the requests of an action share the places of registries with those of its lane, so that each lane gets its part. Where a
// registry takes few at once, the import that was begun first is finished first.
func shared(ctx context.Context, a *diff.Action) context.Context {
	return wire.ShareInTurn(ctx, a.Source.Registry+" "+a.Target.Registry, a.Target.String())
}

// lanes bound what is under way between any two registries: one that hangs then holds up nobody else's imports. In a lane those jobs go
// first that have the highest priority, and of equal ones those that have had the fewest turns: what a registry allows is shared by them
// so, and a job of a thousand tags does not use it up before one of three. Imports of a job wait for jobs of a higher priority from the
// same registry to be observed.
//
// Where several lanes lead to one target, each begins few imports, and one more for each that ends or that moves bytes enough: the lane of
// a slow source does not keep the target busy with the starts of uploads that wait for their bytes.
type lanes struct {
	mu    sync.Mutex
	lanes map[lane]*queue
	// into are the source registries of the jobs, by target registry.
	into map[string]map[string]struct{}
	// expected counts the jobs that are still to be observed, by priority, for each source registry.
	expected map[string]map[int]int
}

// queue is a lane with what waits for a place in it.
type queue struct {
	lane
	free  int
	most  int // imports at once, which grows
	moved atomic.Int64
	lines map[*run]*line
	ready heap // lines in which something waits
	came  int
}

// line is what waits of one run, in the order in which it came: the places of its outcomes, and what is done with them. It is numbers
// and no goroutines, since a job may have 200,000.
type line struct {
	run     *run
	waiting []int
	do      func(i int, moved func(bytes int64))
	had     int // turns
	since   int // when it was empty last, by the queue's count
}

// newLanes returns lanes for jobs, each of which is then to be observed.
func newLanes(jobs ...plan.Job) *lanes {
	l := &lanes{lanes: map[lane]*queue{}, into: map[string]map[string]struct{}{}, expected: map[string]map[int]int{}}
	for _, j := range jobs {
		for _, target := range j.Targets {
			if l.into[target.Registry] == nil {
				l.into[target.Registry] = map[string]struct{}{}
			}
			l.into[target.Registry][j.Source.Registry] = struct{}{}
		}
		if l.expected[j.Source.Registry] == nil {
			l.expected[j.Source.Registry] = map[int]int{}
		}
		l.expected[j.Source.Registry][j.Priority]++
	}
	return l
}

// observed notes that what the jobs of some runs import waits for its turn now. The caller holds the lock.
func (l *lanes) observed(runs []*run) {
	for _, r := range runs {
		if of := l.expected[r.job.Source.Registry]; !r.arrived && of[r.job.Priority] > 0 {
			of[r.job.Priority]--
		}
		r.arrived = true
	}
}

// outranked tells whether a job of a higher priority is still to be observed.
func (l *lanes) outranked(key lane, r *run) bool {
	for priority, jobs := range l.expected[key.source] {
		if jobs > 0 && priority > r.job.Priority {
			return true
		}
	}
	return false
}

func (l *lanes) leave(q *queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q.free++
	l.grow(q)
}

// grow allows one import more. The caller holds the lock.
func (l *lanes) grow(q *queue) {
	if q.most < importsPerLane {
		q.most++
		q.free++
	}
	l.next(q)
}

// movedIn notes that bytes of an import have moved.
func (l *lanes) movedIn(q *queue, bytes int64) {
	before := q.moved.Add(bytes) - bytes
	if bytes > 0 && before/bytesAnImport < (before+bytes)/bytesAnImport {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.grow(q)
	}
}

func (q *queue) wait(r *run, i int, do func(i int, moved func(bytes int64))) {
	own := q.lines[r]
	if own == nil {
		own = &line{run: r}
		q.lines[r] = own
	}
	own.do = do
	if own.waiting = append(own.waiting, i); len(own.waiting) == 1 {
		q.came++
		own.since = q.came
		q.ready.push(own)
	}
}

// next gives free places to those whose turn it is.
func (l *lanes) next(q *queue) {
	for q.free > 0 && len(q.ready) > 0 && !l.outranked(q.lane, q.ready[0].run) {
		first := q.ready.pop()
		i, do := first.waiting[0], first.do
		first.waiting = first.waiting[1:]
		first.had++
		q.free--
		if len(first.waiting) > 0 {
			q.ready.push(first)
		}
		go func() {
			defer l.leave(q)
			do(i, func(bytes int64) { l.movedIn(q, bytes) })
		}()
	}
}

// heap is a priority queue of lines (container/heap).
type heap []*line

// Len, Less, Swap, Push and Pop implement container/heap.
func (h heap) Len() int { return len(h) }

// Less orders by priority, then by turns, then by time.
func (h heap) Less(i, j int) bool {
	a, b := h[i], h[j]
	return cmp.Or(cmp.Compare(b.run.job.Priority, a.run.job.Priority), cmp.Compare(a.had, b.had), cmp.Compare(a.since, b.since)) < 0
}

// Swap swaps two lines.
func (h heap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push appends a line.
func (h *heap) Push(x any) { *h = append(*h, x.(*line)) } //nolint:forcetypeassert // push gives nothing else

// Pop takes the last line off.
func (h *heap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	*h = (*h)[:last]
	return l
}

func (h *heap) push(l *line) { containerheap.Push(h, l) }
func (h *heap) pop() *line   { return containerheap.Pop(h).(*line) } //nolint:forcetypeassert // nothing else is in it

// of returns the queue of an action. The caller holds the lock.
func (l *lanes) of(a *diff.Action) *queue {
	key := lane{a.Source.Registry, a.Target.Registry}
	if l.lanes[key] == nil {
		first := min(importsPerLane, max(leastImports, importsIntoOne/max(1, len(l.into[key.target]))))
		l.lanes[key] = &queue{lane: key, free: first, most: first, lines: map[*run]*line{}}
	}
	return l.lanes[key]
}

// each calls f for the outcomes that are wanted of runs that have observed, concurrently, and returns when all have ended. f says how many
// bytes have moved.
func (l *lanes) each(runs []*run, wanted func(*run, *Outcome) bool, f func(r *run, i int, moved func(bytes int64))) {
	var group sync.WaitGroup
	l.mu.Lock()
	for _, r := range runs {
		do := func(i int, moved func(int64)) {
			defer group.Done()
			f(r, i, moved)
		}
		for i := range r.result.Outcomes {
			if out := &r.result.Outcomes[i]; wanted(r, out) {
				group.Add(1)
				l.of(&out.Action).wait(r, i, do)
			}
		}
	}
	l.observed(runs)
	for _, q := range l.lanes {
		l.next(q)
	}
	l.mu.Unlock()
	group.Wait()
}
