package store

import (
	"context"
	"fmt"
	"time"
)

const (
	// maxBudget limits the state of one budget, in bytes; budgetsLast is how long a state without updates is kept.
	maxBudget   = 1 << 20
	budgetsLast = 90 * 24 * time.Hour
)

// Budget returns the saved state of a budget, and false if there is none.
func (s *Store) Budget(ctx context.Context, name string) (state []byte, ok bool, err error) {
	return s.state(ctx, s.find.budget, "budget", name)
}

// PutBudget saves the state of a budget and replaces the previous one.
func (s *Store) PutBudget(ctx context.Context, name string, state []byte) error {
	if name == "" || len(name) > maxJob || len(state) == 0 || len(state) > maxBudget {
		return fmt.Errorf("store: budget %q of %d bytes: without a name or a state, or too large", bounded(name), len(state))
	}
	return s.write(ctx, "keep the budget "+name, s.putState("budgets", name, state))
}
