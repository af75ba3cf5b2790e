package webhook

import (
	"context"
	"time"
)

// maxQueue is how many events wait for one hook.
const maxQueue = 100

// outbox is what waits for one hook. The Sender's lock guards it.
type outbox struct {
	hook  *compiled
	queue []*notice
	// current is the notice that is being sent, which is not in the queue any more.
	current *notice
	// cancel ends the goroutine that sends; nil while there is none. There is one only while something waits.
	cancel context.CancelFunc
	// missed counts what the hook did not get, and missedSince is when the first of it happened. It is told at the next
	// success; answering is set while the last attempt was one.
	missed      map[Kind]int
	missedSince time.Time
	answering   bool
	// failures counts failed attempts in a row, of whatever event.
	failures int
}

// push adds n at the end, and returns what had to go for it: nil, or the oldest.
func (o *outbox) push(n *notice) (dropped *notice) {
	if len(o.queue) >= maxQueue {
		dropped = o.queue[0]
		o.queue[0] = nil
		o.queue = o.queue[1:]
		o.miss(dropped)
	}
	o.queue = append(o.queue, n)
	return dropped
}

// take makes the next notice the current one; nil means that there is none.
func (o *outbox) take(source string) *notice {
	switch {
	case o.answering && len(o.missed) > 0:
		data := Data{Missed: map[string]int{}, MissedSince: o.missedSince}
		for kind, n := range o.missed {
			data.Missed[string(kind)] = n
		}
		o.missed, o.missedSince = nil, time.Time{}
		o.current = newNotice(source, Missed, time.Time{}, data)
	case len(o.queue) > 0:
		o.current = o.queue[0]
		o.queue[0] = nil
		o.queue = o.queue[1:]
	}
	return o.current
}

// miss remembers that the hook will not get n. What a lost summary said counts again.
func (o *outbox) miss(n *notice) {
	if o.missed == nil {
		o.missed = map[Kind]int{}
	}
	at := n.at
	if n.kind() == Missed {
		at = n.data.MissedSince
		for kind, count := range n.data.Missed {
			o.missed[Kind(kind)] += count
		}
	} else {
		o.missed[n.kind()]++
	}
	if o.missedSince.IsZero() || at.Before(o.missedSince) {
		o.missedSince = at
	}
}

// waiting counts what has not arrived yet.
func (o *outbox) waiting() int {
	if o.current != nil {
		return len(o.queue) + 1
	}
	return len(o.queue)
}

// clear drops what waits, and says how much it was.
func (o *outbox) clear() int {
	n := o.waiting()
	o.queue, o.current = nil, nil
	return n
}
