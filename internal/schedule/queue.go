package schedule

import (
	"cmp"
	"container/heap"
	"time"
)

// Queue holds keys until they are due. The zero value is ready. It is not safe for concurrent use.
// Of the due keys, the one with the highest priority comes first. But keys that have been due for more than an hour come before all others,
// the longest due first, so that no stream of others delays them forever.
type Queue struct {
	items map[string]*item
	// An item is in coming, or in both ready and late. All of ready was due at turned.
	coming, ready, late pile
	turned              time.Time
}

// patience is how long an item is due before it comes first regardless of priorities.
const patience = time.Hour

// item is a key in a queue.
type item struct {
	key      string
	due      time.Time
	priority int
	ready    bool
	// place is the item's index in each pile, by the pile's slot.
	place [2]int
}

// Put inserts a key, or changes when it is due.
func (q *Queue) Put(key string, due time.Time, priority int) {
	q.Remove(key)
	if q.items == nil {
		q.items = map[string]*item{}
		q.coming.first, q.late.first = earliest, earliest
		q.ready.first, q.ready.slot = highest, 1
	}
	it := &item{key: key, due: due.Round(0), priority: priority}
	q.items[key] = it
	heap.Push(&q.coming, it)
}

// Remove removes a key, if present.
func (q *Queue) Remove(key string) {
	if it, ok := q.items[key]; ok {
		q.take(it)
		delete(q.items, key)
	}
}

// Next returns when the first key is due, and false for an empty queue.
func (q *Queue) Next() (time.Time, bool) {
	var first *item
	for _, p := range [...]*pile{&q.coming, &q.late} {
		if len(p.items) > 0 && (first == nil || p.items[0].due.Before(first.due)) {
			first = p.items[0]
		}
	}
	if first == nil {
		return time.Time{}, false
	}
	return first.due, true
}

// Pop removes and returns at most n keys that are due at now, in the order in which to run them; none if n is not positive.
func (q *Queue) Pop(now time.Time, n int) (keys []string) {
	q.turn(now.Round(0))
	for len(keys) < n && len(q.ready.items) > 0 {
		it := q.ready.items[0]
		if longest := q.late.items[0]; now.Sub(longest.due) > patience {
			it = longest
		}
		q.take(it)
		delete(q.items, it.key)
		keys = append(keys, it.key)
	}
	return keys
}

// turn makes ready exactly the items that are due at now. It also takes items back, since the clock may have been set back.
func (q *Queue) turn(now time.Time) {
	if now.Before(q.turned) {
		for len(q.ready.items) > 0 {
			it := q.ready.items[0]
			q.take(it)
			heap.Push(&q.coming, it)
		}
	}
	q.turned = now
	for len(q.coming.items) > 0 && !q.coming.items[0].due.After(now) {
		it := q.coming.items[0]
		q.take(it)
		it.ready = true
		heap.Push(&q.ready, it)
		heap.Push(&q.late, it)
	}
}

// take removes an item from its piles.
func (q *Queue) take(it *item) {
	if !it.ready {
		heap.Remove(&q.coming, it.place[q.coming.slot])
		return
	}
	heap.Remove(&q.ready, it.place[q.ready.slot])
	heap.Remove(&q.late, it.place[q.late.slot])
	it.ready = false
}

func earliest(a, b *item) int {
	return cmp.Or(a.due.Compare(b.due), cmp.Compare(b.priority, a.priority), cmp.Compare(a.key, b.key))
}

func highest(a, b *item) int {
	return cmp.Or(cmp.Compare(b.priority, a.priority), a.due.Compare(b.due), cmp.Compare(a.key, b.key))
}

// pile is a heap of items that record their index in it.
type pile struct {
	items []*item
	first func(a, b *item) int
	slot  int
}

// Len implements [heap.Interface].
func (p *pile) Len() int { return len(p.items) }

// Less implements [heap.Interface].
func (p *pile) Less(i, j int) bool { return p.first(p.items[i], p.items[j]) < 0 }

// Swap implements [heap.Interface].
func (p *pile) Swap(i, j int) {
	p.items[i], p.items[j] = p.items[j], p.items[i]
	p.items[i].place[p.slot], p.items[j].place[p.slot] = i, j
}

// Push implements [heap.Interface].
func (p *pile) Push(x any) {
	it := x.(*item) //nolint:forcetypeassert // nothing else is pushed
	it.place[p.slot] = len(p.items)
	p.items = append(p.items, it)
}

// Pop implements [heap.Interface].
func (p *pile) Pop() any {
	end := len(p.items) - 1
	it := p.items[end]
	p.items[end] = nil
	p.items = p.items[:end]
	return it
}
