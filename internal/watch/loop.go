package watch

import (
	"context"
	"time"
)

// sight is what sees events.
type sight interface {
	// watch watches these paths and no others. fresh is set when a folder was not watched before: what happened in it
	// meanwhile had no event. whole is set when every change of content can be expected to have one.
	watch(watchPaths) (fresh, whole bool)
	// stirred receives after events, many of them as one.
	stirred() <-chan struct{}
	close()
}

// Run watches until the context ends, and leaves nothing behind then. It is to be called once.
func (w *Watcher) Run(ctx context.Context) { w.run(ctx, newFSWatcher(w.opts.Log)) }

func (w *Watcher) run(ctx context.Context, s sight) {
	defer s.close()
	l := &loop{Watcher: w, sight: s, whole: true, settle: newSettle(w.opts.Debounce, w.opts.MaxDebounce)}
	l.poll = time.NewTimer(l.pause())
	defer l.poll.Stop()
	defer l.settle.done()
	for l.step(ctx) {
	}
}

type loop struct {
	*Watcher
	sight  sight
	whole  bool
	poll   *time.Timer
	settle *settle
}

// step waits for one thing to happen.
func (l *loop) step(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-l.refresh:
		// What happened between the reading of a new file and the watch on it had no event.
		l.look()
		l.settle.touch()
	case <-l.sight.stirred():
		// A folder that was replaced must be watched before its files settle. Once a burst is enough: the end looks again.
		if l.settle.touch() {
			l.look()
		}
	case <-l.settle.left.C:
		l.finish()
	case <-l.settle.enough.C:
		l.finish()
	case <-l.poll.C:
		l.look()
		l.poll.Reset(l.pause())
		if !l.settle.pending && l.differs() {
			l.settle.touch() // it may be half-written
		}
	}
	return true
}

// finish looks before it reads, so that a change after the reading has an event.
func (l *loop) finish() {
	l.settle.done()
	l.look()
	l.compare()
}

// maxLooks bounds how often a tree that is just being made is followed downwards at once.
const maxLooks = 8

// look watches the folders that the paths lead through now. Where a watch is new, they may have changed before it was set.
func (l *loop) look() {
	whole := l.whole
	for range maxLooks {
		var fresh bool
		fresh, whole = l.sight.watch(watchPathsOf(l.files()))
		if !fresh {
			break
		}
	}
	if whole != l.whole {
		l.whole = whole
		l.poll.Reset(l.pause())
	}
}

// pause leaves room for the debounce, so that both together take no longer than the poll interval.
func (l *loop) pause() time.Duration {
	poll := l.opts.Poll
	if !l.whole {
		poll = min(poll, blindPoll)
	}
	return max(poll-l.opts.Debounce, poll/2)
}
