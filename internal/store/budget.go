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
	// changeTries is how often a change is computed while others change the same state.
	changeTries = 50
)

// Change replaces the state of a budget with what change makes of it. change is called again if the state has changed meanwhile, here or
// in another process, so that no update is lost. Its state is nil if there is none; if it returns nil, nothing is written.
func (s *Store) Change(ctx context.Context, name string, change func(state []byte, now time.Time) []byte) error {
	if name == "" || len(name) > maxJob {
		return fmt.Errorf("store: budget %q: without a name, or with one that is too long", bounded(name))
	}
	for range changeTries {
		old, at, err := s.budget(ctx, name)
		if err != nil {
			return err
		}
		state := change(old, at)
		if len(state) > maxBudget {
			return fmt.Errorf("store: budget %q of %d bytes: too large", bounded(name), len(state))
		}
		if state == nil {
			return nil
		}
		if changed, err := s.changeBudget(ctx, name, old, state); changed || err != nil {
			return err
		}
	}
	return fmt.Errorf("store: budget %q: others changed it %d times in a row", bounded(name), changeTries)
}

// budget reads a state, and the time by the clock of the database.
func (s *Store) budget(ctx context.Context, name string) (state []byte, at time.Time, err error) {
	if s.damaged.Load() {
		return nil, s.options.Now(), nil
	}
	var milliseconds int64
	if err := s.find.budget.QueryRowContext(ctx, now, name).Scan(&milliseconds, &state); err != nil {
		return nil, s.options.Now(), s.failed(ctx, "read the budget "+bounded(name), err)
	}
	return state, time.UnixMilli(milliseconds).UTC(), nil
}

// changeBudget writes a state if the last one is still old, in one statement. A last one that is too large to be read counts as none. After
// an error it may have been written.
func (s *Store) changeBudget(ctx context.Context, name string, old, state []byte) (changed bool, err error) {
	if s.damaged.Load() {
		return true, nil
	}
	const query = `INSERT INTO {budgets} (name, state, used) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET state = excluded.state, used = excluded.used WHERE budgets.state = ? OR length(budgets.state) > ?`
	rows, err := s.send(ctx, true, []statement{do(query, name, state, now, old, maxBudget)})
	return rows > 0, s.failed(ctx, "keep the budget "+name, err)
}
