package store

import (
	"context"
	"database/sql"
	"log/slog"
)

// busyTries is how often a write is tried while other processes write; each try waits five seconds.
const busyTries = 3

// statement is an SQL statement that returns no rows.
type statement struct {
	sql  string
	args []any
}

func do(query string, args ...any) statement { return statement{query, args} }

// write executes statements in one exclusive transaction, and records pending reads in it. No statement depends on the answer to another:
// all of them can be sent at once, and no lock waits for this process.
func (s *Store) write(ctx context.Context, what string, list ...statement) error {
	if s.damaged.Load() {
		return nil
	}
	_, err := s.transact(ctx, list...)
	return s.failed(ctx, what, err)
}

// transact also returns how many rows the last statement has changed.
func (s *Store) transact(ctx context.Context, list ...statement) (changed int64, err error) {
	if err := s.restore(ctx); err != nil {
		return 0, err
	}
	tx, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	if changed, err = execAll(ctx, tx, append(s.recordTouched(), list...)); err != nil {
		return 0, err
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	s.works(ctx)
	return changed, nil
}

// execAll executes statements in order. Those in a row that differ only in their values are prepared once.
func execAll(ctx context.Context, tx *sql.Tx, list []statement) (changed int64, err error) {
	for len(list) > 0 && err == nil {
		n := 1
		for n < len(list) && list[n].sql == list[0].sql {
			n++
		}
		changed, err = execEqual(ctx, tx, list[:n])
		list = list[n:]
	}
	return changed, err
}

func execEqual(ctx context.Context, tx *sql.Tx, list []statement) (changed int64, err error) {
	exec := func(args ...any) (sql.Result, error) { return tx.ExecContext(ctx, list[0].sql, args...) }
	if len(list) > 1 {
		prepared, err := tx.PrepareContext(ctx, list[0].sql)
		if err != nil {
			return 0, err
		}
		defer func() { _ = prepared.Close() }()
		exec = func(args ...any) (sql.Result, error) { return prepared.ExecContext(ctx, args...) }
	}
	for _, st := range list {
		done, err := exec(st.args...)
		if err != nil {
			return 0, err
		}
		if changed, err = done.RowsAffected(); err != nil {
			return 0, err
		}
	}
	return changed, nil
}

// works records that a write has succeeded.
func (s *Store) works(ctx context.Context) {
	if s.ailing.CompareAndSwap(true, false) {
		s.options.Log.LogAttrs(ctx, slog.LevelInfo, "the store can be used again", slog.String("target", s.path))
	}
}

// begin waits for this process's turn, then for its turn among processes.
func (s *Store) begin(ctx context.Context) (tx *sql.Tx, err error) {
	for range busyTries {
		if tx, err = s.writer.BeginTx(ctx, nil); code(err) != codeBusy {
			return tx, err
		}
	}
	return nil, err
}
