package store

import (
	"context"
	"log/slog"
)

// statement is an SQL statement that returns no rows.
type statement struct {
	sql  string
	args []any
}

func do(query string, args ...any) statement { return statement{query, args} }

// write executes statements in one transaction, after it has recorded pending reads. No statement depends on the answer to another: all of
// them can be sent at once, and no lock waits for this process. They may be executed twice.
func (s *Store) write(ctx context.Context, what string, list ...statement) error {
	if s.damaged.Load() {
		return nil
	}
	_, err := s.transact(ctx, list...)
	return s.failed(ctx, what, err)
}

// writeOnce is like write, for statements that must not be executed twice.
func (s *Store) writeOnce(ctx context.Context, what string, list ...statement) error {
	if s.damaged.Load() {
		return nil
	}
	_, err := s.send(ctx, true, list)
	return s.failed(ctx, what, err)
}

// transact also returns how many rows the last statement has changed.
func (s *Store) transact(ctx context.Context, list ...statement) (changed int64, err error) {
	return s.send(ctx, false, list)
}

// send writes pending reads and then a list, in a transaction each: who writes holds no rows that it happened to read before.
func (s *Store) send(ctx context.Context, once bool, list []statement) (changed int64, err error) {
	if err := s.restore(ctx); err != nil {
		return 0, err
	}
	if err := s.flush(ctx); err != nil || len(list) == 0 {
		return 0, err
	}
	if changed, err = s.dialect.write(ctx, list, once); err != nil {
		return 0, err
	}
	s.works(ctx)
	return changed, nil
}

// works records that a write has succeeded.
func (s *Store) works(ctx context.Context) {
	if s.ailing.CompareAndSwap(true, false) {
		s.options.Log.LogAttrs(ctx, slog.LevelInfo, "the store can be used again", slog.String("target", s.path))
	}
}
