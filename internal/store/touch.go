package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// touchAfter is the precision of the time of use: a row used within it is not written again for a read.
	touchAfter = 24 * time.Hour
	// maxTouched limits the pending reads; a read beyond it is recorded at the next read.
	maxTouched = 16384
)

// touch names rows that were read: their table, and their key but for the digest.
type touch struct {
	table      string
	repository int64
	platforms  string
}

// touch notes that a row was read. The next write records it; reading itself writes nothing.
func (s *Store) touch(rows touch, digest string, used int64) {
	if age := s.now() - used; -touchAfter.Milliseconds() < age && age < touchAfter.Milliseconds() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.touched[rows][digest]; ok || s.pending >= maxTouched {
		return
	}
	if s.touched[rows] == nil {
		s.touched[rows] = map[string]struct{}{}
	}
	s.touched[rows][digest] = struct{}{}
	s.pending++
}

// flush records the pending reads, if any.
func (s *Store) flush(ctx context.Context) error {
	s.mu.Lock()
	pending := s.pending
	s.mu.Unlock()
	if pending == 0 {
		return nil
	}
	_, err := s.transact(ctx)
	return err
}

// recordTouched returns statements that record the pending reads, which it takes.
func (s *Store) recordTouched() (list []statement) {
	s.mu.Lock()
	touched := s.touched
	s.touched, s.pending = map[touch]map[string]struct{}{}, 0
	s.mu.Unlock()
	now := s.now()
	for rows, digests := range touched {
		where, key := rows.where()
		query := fmt.Sprintf("UPDATE %s SET used = ? WHERE %s IN (SELECT value FROM json_each(?))", rows.table, where)
		for chunk := range slices.Chunk(slices.Collect(maps.Keys(digests)), chunkSize) {
			list = append(list, do(query, append(append([]any{now}, key...), jsonList(chunk))...))
		}
	}
	return list
}

// where returns a condition for the rows that ends in the name of the digest's column, and its values.
func (t touch) where() (condition string, values []any) {
	switch t.table {
	case "manifests":
		return "digest", nil
	case "selections":
		return "platforms = ? AND source", []any{t.platforms}
	default:
		return "repository = ? AND digest", []any{t.repository}
	}
}

// chunkSize is how many digests one statement takes.
const chunkSize = 1000

// jsonList makes a JSON array of valid digests, which need no escaping.
func jsonList[S ~string](digests []S) string {
	var b strings.Builder
	for i, d := range digests {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		b.WriteString(string(d))
		b.WriteByte('"')
	}
	return "[" + b.String() + "]"
}
