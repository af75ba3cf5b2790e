package store

import (
	"context"
	"fmt"
	"time"
)

const (
	// maxOperation limits the state of one operation, in bytes; operationsLast is how long an operation that no one ended is kept.
	maxOperation   = 64 << 10
	operationsLast = 7 * 24 * time.Hour
)

// Operation returns the saved state of a remote operation, and false if there is none.
func (s *Store) Operation(ctx context.Context, name string) (state []byte, ok bool, err error) {
	return s.state(ctx, s.find.operation, "operation", name)
}

// PutOperation saves the state of a remote operation, so that it can be resumed after a restart; without a state it is forgotten.
func (s *Store) PutOperation(ctx context.Context, name string, state []byte) error {
	if name == "" || len(name) > maxJob || len(state) > maxOperation {
		return fmt.Errorf("store: operation %q of %d bytes: without a name, or too large", bounded(name), len(state))
	}
	put := s.putState("operations", name, state)
	if len(state) == 0 {
		put = do("DELETE FROM {operations} WHERE name = ?", name)
	}
	return s.write(ctx, "keep the operation "+name, put)
}
