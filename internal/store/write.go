package store

import (
	"context"
	"database/sql"
	"log/slog"
)

// busyTries is how often a write is tried while other processes write; each try waits five seconds.
const busyTries = 3

// write runs an exclusive transaction, and records pending reads in it.
func (s *Store) write(ctx context.Context, what string, do func(*sql.Tx) error) error {
	if s.damaged.Load() {
		return nil
	}
	return s.failed(ctx, what, s.transact(ctx, do))
}

func (s *Store) transact(ctx context.Context, do func(*sql.Tx) error) error {
	if err := s.restore(ctx); err != nil {
		return err
	}
	tx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := s.writeTouched(ctx, tx); err != nil {
		return err
	}
	if do != nil {
		if err := do(tx); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.works(ctx)
	return nil
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
