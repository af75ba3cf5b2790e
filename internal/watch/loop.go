package watch

import (
	"context"
	"time"
)

// sight is a source of file events.
type sight interface {
	// watch watches these paths and no others. fresh reports that a folder was not watched before: earlier changes in it had no event.
	// whole reports that every change of content should have an event.
	watch(watchPaths) (fresh, whole bool)
	// stirred receives after events, many of them combined.
	stirred() <-chan struct{}
	close()
}

// Run watches until the context ends, and leaves nothing behind. It must be called once.
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

// step waits for one event.
func (l *loop) step(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-l.refresh:
		// A change between the reading of a new file and its watch had no event.
		l.look()
		l.settle.touch()
	case <-l.sight.stirred():
		// A replaced folder must be watched before its files settle. Once per burst is enough, since its end looks again.
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

// finish looks before it reads, so that a later change has an event.
func (l *loop) finish() {
	if l.settle.late() {
		return
	}
	l.settle.done()
	l.look()
	l.compare()
}

// maxLooks limits how often a growing tree is followed downwards at once.
const maxLooks = 8

// look watches the folders on the present paths. After a new watch it looks again, since the paths may have changed before it was set.
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

// pause leaves time for the debounce, so that both together take no longer than the poll interval.
func (l *loop) pause() time.Duration {
	poll := l.opts.Poll
	if !l.whole {
		poll = min(poll, blindPoll)
	}
	return max(poll-l.opts.Debounce, poll/2)
}
