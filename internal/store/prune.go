package store

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// pruneRows is how many manifests one transaction deletes by age, fitRows how many by total size: other writers get their turns in between.
	pruneRows = 100
	fitRows   = 8
	// pruneRepositories is how many repositories are looked up at once.
	pruneRepositories = 1000
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
	unused := moment(before.Sub(s.options.Now()))
	return s.failed(ctx, "prune", s.prune(ctx, unused, maxBytes))
}

func (s *Store) prune(ctx context.Context, unused moment, maxBytes int64) error {
	for more := true; more; {
		var err error
		if more, err = s.dropManifests(ctx, unused); err != nil {
			return err
		}
	}
	if err := s.dropOthers(ctx, unused); err != nil {
		return err
	}
	if err := s.dropHistory(ctx, maxBytes); err != nil {
		return err
	}
	if err := s.fit(ctx, unused, maxBytes); err != nil {
		return err
	}
	return s.dialect.shrink(ctx)
}

// fit deletes the least recently used until the rest fits.
func (s *Store) fit(ctx context.Context, unused moment, maxBytes int64) error {
	if maxBytes <= 0 {
		return nil
	}
	for misses := 0; misses < pruneSteps; {
		excess, err := s.excess(ctx, maxBytes)
		if excess <= 0 || err != nil {
			return err
		}
		found, dropped, err := s.dropOldest(ctx, maxBytes)
		switch {
		case err != nil:
			return err
		case !found:
			misses = pruneSteps
		case dropped == 0: // others have dropped them, or used them
			misses++
		}
	}
	for range pruneSteps {
		if excess, err := s.excess(ctx, maxBytes); excess <= 0 || err != nil {
			return err
		}
		unused /= 2
		if err := s.dropOthers(ctx, min(unused, 0)); err != nil {
			return err
		}
	}
	if excess, err := s.excess(ctx, maxBytes); excess <= 0 || err != nil {
		return err
	}
	return s.dropOthers(ctx, later)
}

// later is after every time of use.
const later = moment(time.Millisecond)

// excess returns by how many bytes the content is above the limit.
func (s *Store) excess(ctx context.Context, maxBytes int64) (int64, error) {
	size, err := s.dialect.size(ctx)
	return size - maxBytes, err
}

// dropManifests deletes some of the manifests last used before a time, the oldest first, and reports whether there may be more.
func (s *Store) dropManifests(ctx context.Context, before moment) (more bool, err error) {
	const query = "DELETE FROM {manifests} WHERE digest IN (SELECT digest FROM {manifests} WHERE used < ? ORDER BY used LIMIT ? {unlocked})"
	n, err := s.transact(ctx, do(query, before, pruneRows))
	return n == pruneRows, err
}

// dropOldest deletes the least recently used manifests until the rest fits. It reports whether there are any, and how many it has deleted. They are
// looked up without blocking writers: what is used meanwhile stays. The excess is read after them. So what others delete at the same time
// makes it less, or is among those found: together they delete no more than one would.
func (s *Store) dropOldest(ctx context.Context, maxBytes int64) (found bool, dropped int64, err error) {
	all, err := s.oldest(ctx)
	if err != nil || len(all) == 0 {
		return false, 0, err
	}
	excess, err := s.excess(ctx, maxBytes)
	if err != nil {
		return true, 0, err
	}
	var digests []string
	var last int64
	for _, m := range all {
		if excess <= 0 {
			break
		}
		digests, last = append(digests, m.digest), m.used
		excess -= m.size
	}
	for chunk := range slices.Chunk(digests, fitRows) {
		const query = "DELETE FROM {manifests} WHERE digest IN (SELECT digest FROM {manifests} WHERE digest {in texts} AND used <= ? {unlocked})"
		n, err := s.transact(ctx, do(query, array(chunk), last))
		if err != nil {
			return true, dropped, err
		}
		dropped += n
	}
	return true, dropped, nil
}

// unusedManifest is one of the least recently used.
type unusedManifest struct {
	digest     string
	size, used int64
}

// oldest returns the least recently used manifests, at most maxDropped.
func (s *Store) oldest(ctx context.Context) (all []unusedManifest, err error) {
	rows, err := s.query(ctx, "SELECT digest, length(raw), used FROM {manifests} ORDER BY used LIMIT ?", maxDropped)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var m unusedManifest
		if err := rows.Scan(&m.digest, &m.size, &m.used); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, rows.Err()
}

// dropOthers deletes everything else that was last used before a time, repository by repository.
func (s *Store) dropOthers(ctx context.Context, before moment) error {
	_, err := s.transact(ctx,
		do("DELETE FROM {selections} WHERE used < ?", before),
		do("DELETE FROM {budgets} WHERE used < ?", moment(-budgetsLast)),
		do("DELETE FROM {operations} WHERE used < ?", moment(-operationsLast)))
	if err != nil {
		return err
	}
	for last := int64(0); ; {
		ids, err := s.unused(ctx, last, before)
		if len(ids) == 0 || err != nil {
			return err
		}
		for _, last = range ids {
			if err := s.dropRepository(ctx, last, before); err != nil {
				return err
			}
		}
	}
}

// unused returns the next repositories, after an id, of which something was last used before a time, so that nothing is written for the others:
// of ten thousand mappings there are twenty thousand, and a ledger may be far away.
func (s *Store) unused(ctx context.Context, after int64, before moment) (ids []int64, err error) {
	const query = "SELECT id FROM {repositories} r WHERE id > ? AND (used < ? OR EXISTS (SELECT 1 FROM {blobs} WHERE repository = r.id AND used < ?) " +
		"OR EXISTS (SELECT 1 FROM {referrers} WHERE repository = r.id AND used < ?)) ORDER BY id LIMIT ?"
	rows, err := s.query(ctx, query, after, before, before, before, pruneRepositories)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// dropRepository deletes what was not used of a repository, and the repository if nothing is left of it. These are transactions of their
// own: who holds rows of a repository must not wait for it, since others hold it when they wait for its rows.
func (s *Store) dropRepository(ctx context.Context, id int64, before moment) error {
	for _, table := range []string{"{blobs}", "{referrers}"} {
		const query = "DELETE FROM %[1]s WHERE repository = ? AND digest IN (SELECT digest FROM %[1]s WHERE repository = ? AND used < ? {unlocked})"
		if _, err := s.transact(ctx, do(fmt.Sprintf(query, table), id, id, before)); err != nil {
			return err
		}
	}
	_, err := s.transact(ctx, do("DELETE FROM {repositories} WHERE id = ? AND used < ? AND NOT EXISTS (SELECT 1 FROM {blobs} WHERE repository = repositories.id) "+
		"AND NOT EXISTS (SELECT 1 FROM {referrers} WHERE repository = repositories.id)", id, before))
	return err
}
