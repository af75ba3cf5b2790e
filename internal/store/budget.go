package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	// maxBudget bounds the state of one budget, in bytes; budgetsLast is how long one is kept that nobody writes.
	maxBudget   = 1 << 20
	budgetsLast = 90 * 24 * time.Hour
)

// Budget returns what was kept of a budget last, and false where nothing was.
func (s *Store) Budget(ctx context.Context, name string) (state []byte, ok bool, err error) {
	return s.state(ctx, s.find.budget, "budget", name)
}

// PutBudget keeps the state of a budget in the place of what was kept before.
func (s *Store) PutBudget(ctx context.Context, name string, state []byte) error {
	if name == "" || len(name) > maxJob || len(state) == 0 || len(state) > maxBudget {
		return fmt.Errorf("store: budget %q of %d bytes: without a name or a state, or too large", bounded(name), len(state))
	}
	return s.write(ctx, "keep the budget "+name, func(tx *sql.Tx) error {
		return s.putState(ctx, tx, "budgets", name, state)
	})
}
