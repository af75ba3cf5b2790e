package mirror

import (
	"cmp"
	containerheap "container/heap"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/wire"
)

// queueKey names a queue: the registries that its imports go from and to.
type queueKey struct{ source, target string }

// shared makes the requests of an import share slots with those of its queue, so that each queue gets its part, and in a queue each job. If a
// registry has few slots, the import that began first is finished first.
func shared(ctx context.Context, out *Outcome) context.Context {
	return wire.ShareInTurn(ctx, out.Source.Registry+" "+out.Target.Registry, out.Job, out.Target.String())
}

// queues limit the imports under way between any two registries, so that a registry that hangs delays no one else's imports. In a queue,
// jobs of higher priority go first, and of equal ones those that had fewer turns: so they share what a registry allows, and a job of a
// thousand tags does not use it up before one of three. Imports wait until the jobs of higher priority from the same registry have been
// observed, or hurry is called.
//
// If several queues lead to one target, each begins few imports, and one more for each that ends or has moved enough bytes: the queue of a
// slow source must not keep the target busy with uploads that wait for their bytes.
type queues struct {
	mu     sync.Mutex
	queues map[queueKey]*queue
	// into are the source registries of the jobs, by target registry.
	into map[string]map[string]struct{}
	// expected counts the jobs that are not observed yet, by source registry and priority.
	expected map[string]map[int]int
}

// queue is the queue of imports from one registry to another.
type queue struct {
	queueKey
	free  int
	most  int // limit of imports at once, which grows
	moved atomic.Int64
	lines map[*run]*line
	ready heap // lines with waiting imports
	came  int
}

// line holds the waiting imports of one run, in order: the indexes of their outcomes in batches, and what to do with them. It holds numbers instead
// of goroutines, since a job may have 200,000.
type line struct {
	run     *run
	waiting []waiting
	had     int // number of turns
	since   int // when it was last empty, by the queue's count
}

type waiting struct {
	i  int
	do func(i int, moved func(bytes int64))
}

// newQueues returns queues for jobs that are not observed yet.
func newQueues(jobs ...plan.Job) *queues {
	qs := &queues{queues: map[queueKey]*queue{}, into: map[string]map[string]struct{}{}, expected: map[string]map[int]int{}}
	for _, j := range jobs {
		for _, source := range sourceRegistries(j) {
			for _, target := range j.Targets {
				if qs.into[target.Registry] == nil {
					qs.into[target.Registry] = map[string]struct{}{}
				}
				qs.into[target.Registry][source] = struct{}{}
			}
			if qs.expected[source] == nil {
				qs.expected[source] = map[int]int{}
			}
			qs.expected[source][j.Priority]++
		}
	}
	return qs
}

// sourceRegistries returns the registries from which a job imports, each once.
func sourceRegistries(j plan.Job) (registries []string) {
	for _, source := range j.Sources() {
		registries = append(registries, source.Registry)
	}
	slices.Sort(registries)
	return slices.Compact(registries)
}

// observed records that one of the batches of a run has been queued, or that no more come; with the last of these the job no longer counts as one
// that is not observed. The caller holds the lock.
func (qs *queues) observed(r *run) {
	if r.waits--; r.waits > 0 {
		return
	}
	for _, source := range sourceRegistries(r.job) {
		if of := qs.expected[source]; !r.arrived && of[r.job.Priority] > 0 {
			of[r.job.Priority]--
		}
	}
	r.arrived = true
}

// expect records that one more batch of a run comes, and whole that no more do.
func (qs *queues) expect(r *run) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	r.waits++
}

func (qs *queues) whole(r *run) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	qs.observed(r)
	qs.nextOfAll()
}

// hurry ends the wait for jobs that are not observed yet.
func (qs *queues) hurry() {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	clear(qs.expected)
	qs.nextOfAll()
}

// nextOfAll gives free slots of all queues to the next imports. The caller holds the lock.
func (qs *queues) nextOfAll() {
	for _, q := range qs.queues {
		qs.next(q)
	}
}

// outranked reports whether a job of higher priority is not observed yet.
func (qs *queues) outranked(key queueKey, r *run) bool {
	for priority, jobs := range qs.expected[key.source] {
		if jobs > 0 && priority > r.job.Priority {
			return true
		}
	}
	return false
}

func (qs *queues) leave(q *queue) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q.free++
	qs.grow(q)
}

// grow allows one more import. The caller holds the lock.
func (qs *queues) grow(q *queue) {
	if q.most < importsPerQueue {
		q.most++
		q.free++
	}
	qs.next(q)
}

// movedIn records that bytes of an import have moved.
func (qs *queues) movedIn(q *queue, bytes int64) {
	before := q.moved.Add(bytes) - bytes
	if bytes > 0 && before/bytesAnImport < (before+bytes)/bytesAnImport {
		qs.mu.Lock()
		defer qs.mu.Unlock()
		qs.grow(q)
	}
}

func (q *queue) wait(r *run, i int, do func(i int, moved func(bytes int64))) {
	own := q.lines[r]
	if own == nil {
		own = &line{run: r}
		q.lines[r] = own
	}
	if own.waiting = append(own.waiting, waiting{i, do}); len(own.waiting) == 1 {
		q.came++
		own.since = q.came
		q.ready.push(own)
	}
}

// next gives free slots to the next imports.
func (qs *queues) next(q *queue) {
	for q.free > 0 && len(q.ready) > 0 && !qs.outranked(q.queueKey, q.ready[0].run) {
		first := q.ready.pop()
		i, do := first.waiting[0].i, first.waiting[0].do
		first.waiting = first.waiting[1:]
		first.had++
		q.free--
		if len(first.waiting) > 0 {
			q.ready.push(first)
		}
		go func() {
			defer qs.leave(q)
			do(i, func(bytes int64) { qs.movedIn(q, bytes) })
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
func (h *heap) Push(x any) { *h = append(*h, x.(*line)) } //nolint:forcetypeassert // only lines are pushed

// Pop removes the last line.
func (h *heap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	*h = (*h)[:last]
	return l
}

func (h *heap) push(l *line) { containerheap.Push(h, l) }
func (h *heap) pop() *line   { return containerheap.Pop(h).(*line) } //nolint:forcetypeassert // only lines are in it

// of returns the queue of an action. The caller holds the lock.
func (qs *queues) of(a *diff.Action) *queue {
	key := queueKey{a.Source.Registry, a.Target.Registry}
	if qs.queues[key] == nil {
		first := min(importsPerQueue, max(leastImports, importsIntoOne/max(1, len(qs.into[key.target]))))
		qs.queues[key] = &queue{queueKey: key, free: first, most: first, lines: map[*run]*line{}}
	}
	return qs.queues[key]
}

// each calls f for the wanted outcomes of an observed batch, concurrently, and returns when all calls have returned. f calls moved with the number
// of bytes moved.
func (qs *queues) each(p *batch, wanted func(*Outcome) bool, f func(i int, moved func(bytes int64))) {
	var some []int
	for i := range p.outcomes {
		if wanted(&p.outcomes[i]) {
			some = append(some, i)
		}
	}
	qs.these(p, some, f)
}

// these is each for some outcomes.
func (qs *queues) these(p *batch, some []int, f func(i int, moved func(bytes int64))) {
	var group sync.WaitGroup
	qs.mu.Lock()
	do := func(i int, moved func(int64)) {
		defer group.Done()
		f(i, moved)
	}
	for _, i := range some {
		group.Add(1)
		qs.of(&p.outcomes[i].Action).wait(p.run, i, do)
	}
	if !p.queued {
		p.queued = true
		qs.observed(p.run)
	}
	qs.nextOfAll()
	qs.mu.Unlock()
	group.Wait()
}
