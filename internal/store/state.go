package store

import (
	"context"
	"database/sql"
	"errors"
)

// state reads what another package has saved under a name; false if there is nothing. what names it in errors.
func (s *Store) state(ctx context.Context, find finder, what, name string) (state []byte, ok bool, err error) {
	if s.damaged.Load() {
		return nil, false, nil
	}
	err = find.QueryRowContext(ctx, name).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.failed(ctx, "read the "+what+" "+bounded(name), err)
	}
	return state, state != nil, nil
}

// putState saves a state in a table, and replaces the previous one.
func (s *Store) putState(table, name string, state []byte) statement {
	query := "INSERT INTO {" + table + "} (name, state, used) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state, used = excluded.used"
	return do(query, name, state, now)
}
