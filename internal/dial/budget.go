package dial

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// maxAtOnce is how many connections one sending of a request may take at once. It may take one more after each pause.
	maxAtOnce = 5
	pause     = time.Second
)

type budgetKey struct{}

// budget paces the connections of one sending of a request.
type budget struct {
	begun       time.Time
	ended       <-chan struct{}
	asked, made atomic.Int64
}

// Budget returns the context for one sending of a request, which ends with ctx, and whose connections [Await] paces. A server that gives up each with GOAWAY
// would otherwise have net/http connect hundreds of times a second. A server that takes few streams in each may need many: others take what net/http makes.
func Budget(ctx context.Context) context.Context {
	return context.WithValue(ctx, budgetKey{}, &budget{begun: time.Now(), ended: ctx.Done()})
}

// Connections returns how many connections a sending has made, if there were too many to make them at once, or else 0.
func Connections(ctx context.Context) int64 {
	b, ok := ctx.Value(budgetKey{}).(*budget)
	if !ok || b.made.Load() <= maxAtOnce {
		return 0
	}
	return b.made.Load()
}

// Await waits until the sending of a request may make another connection. ctx is that of net/http's DialContext, which outlives the request.
func Await(ctx context.Context) error {
	b, ok := ctx.Value(budgetKey{}).(*budget)
	if !ok {
		return nil
	}
	if n := b.asked.Add(1); n > maxAtOnce {
		timer := time.NewTimer(time.Until(b.begun.Add(time.Duration(n-maxAtOnce) * pause)))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-b.ended:
			return context.Canceled
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.made.Add(1)
	return nil
}
