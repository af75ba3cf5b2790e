package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// runsKept and runsLast limit the runs of a job by number and age; jobsLast limits how long an unseen job is kept.
	runsKept = 200
	runsLast = 90 * 24 * time.Hour
	jobsLast = 90 * 24 * time.Hour
	// historyShare is the fraction of the store's size that runs may take: one eighth.
	historyShare = 8
	// jobRows and runRows are how many rows one transaction deletes; the outcomes of a run go with it.
	jobRows = 20
	runRows = 50
	// maxDropped limits how many runs are looked up at once.
	maxDropped = 10_000
)

// dropHistory deletes expired jobs and runs, and the oldest runs above their share of maxBytes; 0 is no limit. It looks up what to delete
// without blocking writers, since an expired row stays expired.
func (s *Store) dropHistory(ctx context.Context, maxBytes int64) error {
	if err := s.dropOldRuns(ctx, moment(-runsLast)); err != nil {
		return err
	}
	if err := s.dropUnseen(ctx, moment(-jobsLast)); err != nil {
		return err
	}
	if maxBytes <= 0 {
		return nil
	}
	return s.fitRuns(ctx, maxBytes/historyShare)
}

// dropUnseen deletes jobs that no one has seen since a time. Few runs go with them: the old ones are already gone.
func (s *Store) dropUnseen(ctx context.Context, before moment) error {
	for more := true; more; {
		const query = "DELETE FROM {jobs} WHERE id IN (SELECT id FROM {jobs} WHERE seen < ? ORDER BY id LIMIT ? {unlocked})"
		n, err := s.transact(ctx, do(query, before, jobRows))
		if err != nil {
			return err
		}
		more = n == jobRows
	}
	return nil
}

// dropOldRuns deletes the runs of every job beyond the last runsKept, and older ones than a time, but never the last.
func (s *Store) dropOldRuns(ctx context.Context, before moment) error {
	for job := int64(math.MaxInt64); job > 0; {
		ids, next, err := s.oldRuns(ctx, job, before)
		if err != nil {
			return err
		}
		if err := s.dropRuns(ctx, ids); err != nil {
			return err
		}
		job = next
	}
	return nil
}

// oldRuns scans the jobs downwards from one, and returns the job to continue with; 0 for none.
func (s *Store) oldRuns(ctx context.Context, job int64, before moment) (ids []int64, next int64, err error) {
	rows, err := s.query(ctx, "SELECT job, id, ended < ? FROM {runs} WHERE job <= ? ORDER BY job DESC, id DESC", before, job)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = rows.Close() }()
	last, n := int64(0), 0
	for rows.Next() {
		var job, id int64
		var old bool
		if err := rows.Scan(&job, &id, &old); err != nil {
			return nil, 0, err
		}
		if job != last && len(ids) >= maxDropped {
			return ids, job, nil
		}
		if job != last {
			last, n = job, 0
		}
		if n++; n > runsKept || n > 1 && old {
			ids = append(ids, id)
		}
	}
	return ids, 0, rows.Err()
}

func (s *Store) dropRuns(ctx context.Context, ids []int64) error {
	return s.each(ctx, ids, "DELETE FROM {runs} WHERE id IN (SELECT id FROM {runs} WHERE id {in numbers} {unlocked})")
}

// dropOutcomes deletes the outcomes of runs, which from then on only have their number.
func (s *Store) dropOutcomes(ctx context.Context, ids []int64) error {
	bare := fmt.Sprintf("%d + octet_length(error)", runSize) // the size without outcomes: who was overtaken does nothing
	return s.each(ctx, ids,
		"UPDATE {runs} SET more = more + (SELECT count(*) FROM {outcomes} WHERE run = runs.id), size = "+bare+
			" WHERE id IN (SELECT id FROM {runs} WHERE id {in numbers} {unlocked}) AND size <> "+bare,
		"DELETE FROM {outcomes} WHERE run IN (SELECT id FROM {runs} WHERE id {in numbers} AND size = "+bare+" {unlocked})")
}

// each runs statements for chunks of runs, one transaction each: others get their turns in between.
func (s *Store) each(ctx context.Context, ids []int64, queries ...string) error {
	for chunk := range slices.Chunk(ids, runRows) {
		var list []statement
		for _, query := range queries {
			list = append(list, do(query, array(chunk)))
		}
		if _, err := s.transact(ctx, list...); err != nil {
			return err
		}
	}
	return nil
}

// fitRuns deletes the oldest runs until the rest fits; of a job's last run it deletes only the outcomes.
func (s *Store) fitRuns(ctx context.Context, maxBytes int64) error {
	newest, err := s.beyond(ctx, maxBytes)
	if err != nil {
		return err
	}
	for after := int64(0); after < newest; {
		var superseded, last []int64
		if superseded, last, after, err = s.split(ctx, after, newest); err != nil {
			return err
		}
		if err := s.dropRuns(ctx, superseded); err != nil {
			return err
		}
		if err := s.dropOutcomes(ctx, last); err != nil {
			return err
		}
	}
	return nil
}

// beyond returns the newest run that does not fit; 0 for none.
func (s *Store) beyond(ctx context.Context, maxBytes int64) (id int64, err error) {
	rows, err := s.query(ctx, "SELECT id, size FROM {runs} ORDER BY id DESC")
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for total := int64(0); rows.Next(); {
		var size int64
		if err := rows.Scan(&id, &size); err != nil {
			return 0, err
		}
		if total += size; total > maxBytes {
			return id, nil
		}
	}
	return 0, rows.Err()
}

// split scans the runs after one, up to the newest. It returns those that later runs of their job supersede, the last runs of jobs that
// have outcomes, and the run to continue after.
func (s *Store) split(ctx context.Context, after, newest int64) (superseded, last []int64, next int64, err error) {
	const query = "SELECT id, EXISTS (SELECT 1 FROM {runs} n WHERE n.job = r.job AND n.id > r.id), EXISTS (SELECT 1 FROM {outcomes} WHERE run = r.id) " +
		"FROM {runs} r WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
	rows, err := s.query(ctx, query, after, newest, maxDropped)
	if err != nil {
		return nil, nil, 0, err
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for ; rows.Next(); n++ {
		var old, outcomes bool
		if err := rows.Scan(&next, &old, &outcomes); err != nil {
			return nil, nil, 0, err
		}
		switch {
		case old:
			superseded = append(superseded, next)
		case outcomes:
			last = append(last, next)
		}
	}
	if n < maxDropped {
		next = newest
	}
	return superseded, last, next, rows.Err()
}
