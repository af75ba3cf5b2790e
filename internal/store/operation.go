package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	// maxOperation bounds the state of one operation, in bytes; operationsLast is how long one is kept that nobody ended.
	maxOperation   = 64 << 10
	operationsLast = 7 * 24 * time.Hour
)

// Operation returns what was kept of something that goes on elsewhere, and false where nothing was.
func (s *Store) Operation(ctx context.Context, name string) (state []byte, ok bool, err error) {
	if s.damaged.Load() {
		return nil, false, nil
	}
	err = s.find.operation.QueryRowContext(ctx, name).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.failed(ctx, "read the operation "+bounded(name), err)
	}
	return state, state != nil, nil
}

// PutOperation keeps the state of something that goes on elsewhere, so that it can be taken up after a restart; without a state it is
// forgotten.
func (s *Store) PutOperation(ctx context.Context, name string, state []byte) error {
	if name == "" || len(name) > maxJob || len(state) > maxOperation {
		return fmt.Errorf("store: operation %q of %d bytes: without a name, or too large", bounded(name), len(state))
	}
	return s.write(ctx, "keep the operation "+name, func(tx *sql.Tx) error {
		if len(state) == 0 {
			_, err := tx.ExecContext(ctx, "DELETE FROM operations WHERE name = ?", name)
			return err
		}
		const query = "INSERT INTO operations (name, state, used) VALUES (?, ?, ?) " +
			"ON CONFLICT (name) DO UPDATE SET state = excluded.state, used = excluded.used"
		_, err := tx.ExecContext(ctx, query, name, state, s.now())
		return err
	})
}
