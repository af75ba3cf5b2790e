package store

import (
	"context"
	"fmt"
	"math"
	"time"
)

const (
	// pruneRows is how many manifests one transaction deletes by age, fitRows how many by total size, prunePages how many pages one frees:
	// other writers get their turns in between.
	pruneRows  = 100
	fitRows    = 8
	prunePages = 1000
	// pruneSteps limits how often the kept age is halved to meet a size.
	pruneSteps = 16
)

// Prune deletes what was last used before a time, exact to a day; pending reads are recorded first. If the rest exceeds maxBytes, it
// deletes the least recently used manifests, and if that is not enough the oldest of everything else; 0 is no limit. The file shrinks
// accordingly.
//
// Jobs and their runs have other rules. A job that no one has seen for 90 days is deleted with its runs: callers report the existing jobs
// before, by [Store.TouchJobs]. Otherwise the last 200 runs of a job stay if they are from the last 90 days, and always the last one. Runs
// take at most an eighth of maxBytes: beyond that only the last run of each job stays, without its outcomes. The states of jobs stay in any
// case.
func (s *Store) Prune(ctx context.Context, before time.Time, maxBytes int64) error {
	if s.damaged.Load() {
		return nil
	}
	return s.failed(ctx, "prune", s.prune(ctx, before.UnixMilli(), maxBytes))
}

func (s *Store) prune(ctx context.Context, before, maxBytes int64) error {
	for more := true; more; {
		var err error
		if more, err = s.dropManifests(ctx, before, pruneRows); err != nil {
			return err
		}
	}
	if err := s.dropOthers(ctx, before); err != nil {
		return err
	}
	if err := s.dropHistory(ctx, maxBytes); err != nil {
		return err
	}
	if err := s.fit(ctx, before, maxBytes); err != nil {
		return err
	}
	return s.shrink(ctx)
}

// fit deletes the least recently used until the rest fits.
func (s *Store) fit(ctx context.Context, before, maxBytes int64) error {
	if maxBytes <= 0 {
		return nil
	}
	now := s.now() + 1 // later than every row
	for more := true; more; {
		if fits, err := s.fits(ctx, maxBytes); fits || err != nil {
			return err
		}
		var err error
		if more, err = s.dropManifests(ctx, now, fitRows); err != nil {
			return err
		}
	}
	age := max(now-before, 0)
	for range pruneSteps {
		if fits, err := s.fits(ctx, maxBytes); fits || err != nil {
			return err
		}
		age /= 2
		if err := s.dropOthers(ctx, now-age); err != nil {
			return err
		}
	}
	if fits, err := s.fits(ctx, maxBytes); fits || err != nil {
		return err
	}
	return s.dropOthers(ctx, now)
}

// fits reports whether the pages in use are within the limit.
func (s *Store) fits(ctx context.Context, maxBytes int64) (bool, error) {
	const query = "SELECT (c.page_count - f.freelist_count) * s.page_size FROM pragma_page_count c, pragma_freelist_count f, pragma_page_size s"
	var size int64
	err := s.writer.QueryRowContext(ctx, query).Scan(&size)
	return size <= maxBytes, err
}

// dropManifests deletes some of the manifests last used before a time, the oldest first, and reports whether there may be more.
func (s *Store) dropManifests(ctx context.Context, before int64, most int) (more bool, err error) {
	const query = "DELETE FROM manifests WHERE rowid IN (SELECT rowid FROM manifests WHERE used < ? ORDER BY used LIMIT ?)"
	n, err := s.transact(ctx, do(query, before, most))
	return n == int64(most), err
}

// dropOthers deletes everything else that was last used before a time, with one transaction per repository.
func (s *Store) dropOthers(ctx context.Context, before int64) error {
	_, err := s.transact(ctx,
		do("DELETE FROM selections WHERE used < ?", before),
		do("DELETE FROM budgets WHERE used < ?", s.now()-budgetsLast.Milliseconds()),
		do("DELETE FROM operations WHERE used < ?", s.now()-operationsLast.Milliseconds()))
	if err != nil {
		return err
	}
	for id := int64(0); ; {
		err := s.reader.QueryRowContext(ctx, "SELECT coalesce(min(id), 0) FROM repositories WHERE id > ?", id).Scan(&id)
		if err != nil || id == 0 {
			return err
		}
		if _, err := s.transact(ctx, dropRepository(id, before)...); err != nil {
			return err
		}
	}
}

// dropRepository deletes what was not used of a repository, and the repository if nothing is left of it.
func dropRepository(id, before int64) []statement {
	return []statement{
		do("DELETE FROM blobs WHERE repository = ? AND used < ?", id, before),
		do("DELETE FROM referrers WHERE repository = ? AND used < ?", id, before),
		do("DELETE FROM repositories WHERE id = ? AND used < ? AND NOT EXISTS (SELECT 1 FROM blobs WHERE repository = repositories.id) "+
			"AND NOT EXISTS (SELECT 1 FROM referrers WHERE repository = repositories.id)", id, before),
	}
}

// shrink returns free pages to the file system.
func (s *Store) shrink(ctx context.Context) error {
	for last := math.MaxInt; ; {
		var free int
		if err := s.writer.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&free); err != nil {
			return err
		}
		if free == 0 || free >= last {
			break
		}
		last = free
		if _, err := s.writer.ExecContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", prunePages)); err != nil {
			return err
		}
	}
	_, err := s.writer.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)") // waits for no one
	return err
}
