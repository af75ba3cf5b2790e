package store

import (
	"context"
	"errors"
)

// errDamaged says why nothing is saved any more.
var errDamaged = errors.New("the store is damaged; the next start makes a new one")

// provedFor is how long a successful check is valid, in milliseconds.
const provedFor = 1000

// Writable reports whether the store can be written: it writes a few bytes and commits them, unless that succeeded less than a second ago.
// While others write it waits for its turn, until ctx ends. Here damage is an error, unlike elsewhere.
func (s *Store) Writable(ctx context.Context) error {
	if s.damaged.Load() {
		return errDamaged
	}
	age := s.now() - s.proved.Load()
	if !s.removed() && 0 <= age && age < provedFor {
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
	const query = "INSERT INTO {checks} (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at"
	_, err := s.transact(ctx, do(query, now))
	if err == nil {
		s.proved.Store(s.now())
	}
	return err
}
