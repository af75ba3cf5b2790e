package mirror

import (
	"cmp"
	containerheap "container/heap"
	"sync"

	"github.com/draysync/dray/internal/plan"
)

// lane is what goes from one registry to another.
type lane struct{ source, target string }

// lanes bound what is under way between any two registries: one that hangs then holds up nobody else's imports. In a lane those jobs go
// first that have the highest priority, and of equal ones those that have had the fewest turns: what a registry allows is shared by them
// so, and a job of a thousand tags does not use it up before one of three. Imports of a job wait for jobs of a higher priority from the
// same registry to be observed.
type lanes struct {
	mu    sync.Mutex
	lanes map[lane]*queue
	// expected counts the jobs that are still to be observed, by priority, for each source registry.
	expected map[string]map[int]int
}

// queue is a lane with what waits for a place in it.
type queue struct {
	lane
	free  int
	lines map[*run]*line
	ready heap // lines in which somebody waits
	came  int
}

// line is what waits of one run, in the order in which it came.
type line struct {
	run     *run
	waiting []chan struct{} // each is closed when it has its place
	had     int             // turns
	since   int             // when it was empty last, by the queue's count
}

// newLanes returns lanes for jobs, each of which is then to be observed.
func newLanes(jobs ...plan.Job) *lanes {
	l := &lanes{lanes: map[lane]*queue{}, expected: map[string]map[int]int{}}
	for _, j := range jobs {
		if l.expected[j.Source.Registry] == nil {
			l.expected[j.Source.Registry] = map[int]int{}
		}
		l.expected[j.Source.Registry][j.Priority]++
	}
	return l
}

// observed says that what the jobs of some runs import waits for its turn now.
func (l *lanes) observed(runs []*run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range runs {
		if of := l.expected[r.job.Source.Registry]; of[r.job.Priority] > 0 {
			of[r.job.Priority]--
		}
	}
	for _, q := range l.lanes {
		l.next(q)
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

// enter asks for a place in a lane, which there is once the channel that it returns is closed; leave gives it back.
func (l *lanes) enter(q *queue, r *run) <-chan struct{} {
	goOn := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	q.wait(r, goOn)
	l.next(q)
	return goOn
}

func (l *lanes) leave(q *queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q.free++
	l.next(q)
}

func (q *queue) wait(r *run, goOn chan struct{}) {
	own := q.lines[r]
	if own == nil {
		own = &line{run: r}
		q.lines[r] = own
	}
	if len(own.waiting) == 0 {
		q.came++
		own.since = q.came
		own.waiting = append(own.waiting, goOn)
		q.ready.push(own)
		return
	}
	own.waiting = append(own.waiting, goOn)
}

// next gives free places to those whose turn it is.
func (l *lanes) next(q *queue) {
	for q.free > 0 && len(q.ready) > 0 && !l.outranked(q.lane, q.ready[0].run) {
		first := q.ready.pop()
		close(first.waiting[0])
		first.waiting = first.waiting[1:]
		first.had++
		q.free--
		if len(first.waiting) > 0 {
			q.ready.push(first)
		}
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

func (l *lanes) of(out Outcome) *queue {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := lane{out.Source.Registry, out.Target.Registry}
	if l.lanes[key] == nil {
		l.lanes[key] = &queue{lane: key, free: importsPerLane, lines: map[*run]*line{}}
	}
	return l.lanes[key]
}

// each calls f for the outcomes that are wanted of runs that have observed, concurrently, and returns when all have ended.
func (l *lanes) each(runs []*run, wanted func(*run, Outcome) bool, f func(r *run, i int)) {
	var group sync.WaitGroup
	for _, r := range runs {
		for i, out := range r.result.Outcomes {
			if !wanted(r, out) {
				continue
			}
			q := l.of(out)
			place := l.enter(q, r)
			group.Go(func() {
				<-place
				defer l.leave(q)
				f(r, i)
			})
		}
	}
	l.observed(runs)
	group.Wait()
}
