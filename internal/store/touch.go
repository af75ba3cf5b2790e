package store

import (
	"context"
	"maps"
	"slices"
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

// dayAgo and dayAhead are the parameters of fresh, a column that says whether a row has been used lately.
const (
	dayAgo   = moment(-touchAfter)
	dayAhead = moment(touchAfter)
	fresh    = "used BETWEEN ? AND ?"
)

// touch notes that a row was read. A later write records it; reading itself writes nothing.
func (s *Store) touch(rows touch, digest string, fresh bool) {
	if fresh {
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
	list := s.recordTouched()
	if len(list) == 0 {
		return nil
	}
	_, err := s.dialect.write(ctx, list, false)
	return err
}

// recordTouched returns statements that record the pending reads, which it takes.
func (s *Store) recordTouched() (list []statement) {
	s.mu.Lock()
	touched := s.touched
	s.touched, s.pending = map[touch]map[string]struct{}{}, 0
	s.mu.Unlock()
	for rows, digests := range touched {
		query, args := rows.record()
		for chunk := range slices.Chunk(slices.Collect(maps.Keys(digests)), chunkSize) {
			list = append(list, do(query, append(slices.Clone(args), array(chunk))...))
		}
	}
	return list
}

// record returns the statement that records a use of rows, but for their digests, and its parameters. What others are writing stays as it is:
// they write a time of use as well, and nobody waits for anybody.
func (t touch) record() (query string, args []any) {
	switch t.table {
	case "manifests":
		return "UPDATE {manifests} SET used = ? WHERE digest IN (SELECT digest FROM {manifests} WHERE digest {in texts} {unlocked})", []any{now}
	case "selections":
		return "UPDATE {selections} SET used = ? WHERE platforms = ? AND source IN " +
			"(SELECT source FROM {selections} WHERE platforms = ? AND source {in texts} {unlocked})", []any{now, t.platforms, t.platforms}
	default:
		return "UPDATE {" + t.table + "} SET used = ? WHERE repository = ? AND digest IN " +
			"(SELECT digest FROM {" + t.table + "} WHERE repository = ? AND digest {in texts} {unlocked})", []any{now, t.repository, t.repository}
	}
}

// chunkSize is how many digests one statement takes.
const chunkSize = 1000
