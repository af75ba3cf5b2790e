package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// errDamaged says why nothing is kept any more.
var errDamaged = errors.New("the store is damaged; the next start makes a new one")

// provedFor is how long one check says that the store can be written, in milliseconds: who asks more often costs nothing.
const provedFor = 1000

// Writable tells whether what is written arrives: it writes a few bytes and commits them, unless that went well less than a second
// ago. Where others write it waits for its turn, until ctx ends. Here damage is an error, unlike elsewhere.
func (s *Store) Writable(ctx context.Context) error {
	if s.damaged.Load() {
		return errDamaged
	}
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s was removed; what is kept now is lost at the next start", s.path)
	}
	if age := s.now() - s.proved.Load(); 0 <= age && age < provedFor {
		return nil
	}
	if err := s.failed(ctx, "write to see whether that works", s.prove(ctx)); err != nil {
		return err
	}
	if s.damaged.Load() {
		return errDamaged
	}
	return nil
}

func (s *Store) prove(ctx context.Context) error {
	tx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	now := s.now()
	const query = "INSERT INTO checks (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at"
	if _, err := tx.ExecContext(ctx, query, now); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	s.proved.Store(now)
	return nil
}
