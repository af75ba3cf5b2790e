package store

import (
	"context"
	"database/sql"
	"errors"
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
	if s.damaged.Load() {
		return nil, false, nil
	}
	err = s.find.budget.QueryRowContext(ctx, name).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.failed(ctx, "read the budget "+bounded(name), err)
	}
	return state, state != nil, nil
}

// PutBudget keeps the state of a budget in the place of what was kept before.
func (s *Store) PutBudget(ctx context.Context, name string, state []byte) error {
	if name == "" || len(name) > maxJob || len(state) == 0 || len(state) > maxBudget {
		return fmt.Errorf("store: budget %q of %d bytes: without a name or a state, or too large", bounded(name), len(state))
	}
	return s.write(ctx, "keep the budget "+name, func(tx *sql.Tx) error {
		const query = "INSERT INTO budgets (name, state, used) VALUES (?, ?, ?) " +
			"ON CONFLICT (name) DO UPDATE SET state = excluded.state, used = excluded.used"
		_, err := tx.ExecContext(ctx, query, name, state, s.now())
		return err
	})
}
