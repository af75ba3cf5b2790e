package dial

import (
	"context"
	"errors"
	"sync/atomic"
)

// maxConnections is how many connections one sending of a request may take.
const maxConnections = 5

var errSpent = errors.New("it gives up each new connection before it answers")

type budgetKey struct{}

// Budget returns the context for one sending of a request, which limits its connections. A server that gives up each with GOAWAY would otherwise
// have net/http connect hundreds of times a second.
func Budget(ctx context.Context) context.Context {
	return context.WithValue(ctx, budgetKey{}, new(atomic.Int32))
}

// spent counts a connection, and reports whether it is one too many.
func spent(ctx context.Context) bool {
	used, ok := ctx.Value(budgetKey{}).(*atomic.Int32)
	return ok && used.Add(1) > maxConnections
}
