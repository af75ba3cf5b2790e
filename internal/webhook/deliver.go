package webhook

import (
	"context"
	"log/slog"
	"time"

	"github.com/draysync/dray/internal/backoff"
)

const (
	// maxAge is how old an event may be when it is sent.
	maxAge = 6 * time.Hour
	// maxOwnFaults is how many answers that may be about the event end it.
	maxOwnFaults = 8
)

// work sends what waits in box, and ends when nothing does or ctx ends.
func (s *Sender) work(ctx context.Context, box *outbox) {
	for {
		n := s.take(ctx, box)
		if n == nil {
			return
		}
		s.deliver(ctx, box, n)
	}
}

// take returns nil once, in the moment in which the next Send has to start another goroutine.
func (s *Sender) take(ctx context.Context, box *outbox) *notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil {
		if n := box.take(s.source); n != nil {
			return n
		}
	}
	box.cancel()
	box.cancel = nil
	return nil
}

// deliver sends n until it has arrived, is given up, or ctx ends.
func (s *Sender) deliver(ctx context.Context, box *outbox, n *notice) {
	ownFaults := 0
	for attempt := 1; ; attempt++ {
		s.mu.Lock()
		hook := box.hook // a reload may have changed it
		s.mu.Unlock()
		f := s.attempt(ctx, hook, n)
		if f != nil && f.own {
			ownFaults++
		}
		v, ok := s.settle(ctx, box, n, f, ownFaults < maxOwnFaults)
		if !ok {
			return
		}
		s.report(ctx, n, f, attempt, v)
		if backoff.Sleep(ctx, v.wait) != nil || !v.again {
			return
		}
	}
}

// verdict is what follows from an attempt.
type verdict struct {
	// again is set where this notice is sent again, and wait is how long to send nothing.
	again bool
	wait  time.Duration
	// streak is how many attempts in a row had failed: with this one, or up to this one where it did not.
	streak int
}

// settle counts an attempt. It returns false where ctx ended: whoever ended it has counted n.
func (s *Sender) settle(ctx context.Context, box *outbox, n *notice, f *fault, patient bool) (v verdict, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return v, false
	}
	total := s.totals[box.hook.url.Host]
	if box.answering = f == nil; box.answering {
		v.streak, box.failures = box.failures, 0
		box.current = nil
		total.Sent++
		return v, true
	}
	box.failures++
	v.streak = box.failures
	v.wait = max(pauses.Pause(box.failures), f.after)
	v.again = f.again && patient && time.Since(n.queued)+v.wait <= maxAge
	if v.again {
		return v, true
	}
	if !f.again || f.own {
		v.wait = 0 // the next event may fare better
	}
	box.current = nil
	box.miss(n)
	total.Failed++
	return v, true
}

// report logs what an operator should know: a lost event, and a receiver that stops answering or answers again.
func (s *Sender) report(ctx context.Context, n *notice, f *fault, attempt int, v verdict) {
	attrs := []slog.Attr{slog.String("job", n.data.Job), slog.String("reason", string(n.kind())), slog.Int("attempt", attempt)}
	if f != nil {
		attrs = append(attrs, slog.Any("err", f.err))
	}
	switch {
	case f == nil && v.streak > 0:
		s.log.LogAttrs(ctx, slog.LevelInfo, "the receiver takes notifications again", attrs...)
	case f == nil:
		s.log.LogAttrs(ctx, slog.LevelDebug, "notification sent", attrs...)
	case !v.again:
		s.log.LogAttrs(ctx, slog.LevelWarn, "notification given up", attrs...)
	case v.streak == 1:
		s.log.LogAttrs(ctx, slog.LevelWarn, "notification is late", append(attrs, slog.Time("retry_at", time.Now().Add(v.wait)))...)
	default:
		s.log.LogAttrs(ctx, slog.LevelDebug, "notification is late", append(attrs, slog.Time("retry_at", time.Now().Add(v.wait)))...)
	}
}
