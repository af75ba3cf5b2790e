package store

import (
	"context"
	"database/sql"
	"math"
	"time"
)

const (
	defaultPage = 50
	maxPage     = 1000
	// maxPageSize is about how many bytes of runs one answer has at the most, unless the first takes more.
	maxPageSize = 4 << 20
)

// HistoryQuery chooses runs.
type HistoryQuery struct {
	// Job is the name of the job; empty for all.
	Job string
	// Limit is how many runs to return at the most: 50 if it is 0, and never more than 1000.
	Limit int
	// Before is the ID of a run, of which older ones are wanted; 0 for the newest.
	Before int64
}

// History returns runs with their outcomes, the newest first. Where their outcomes are many it returns fewer than the limit allows:
// only an empty answer is the end.
func (s *Store) History(ctx context.Context, q HistoryQuery) ([]Run, error) {
	if s.damaged.Load() {
		return nil, nil
	}
	runs, err := s.history(ctx, q)
	if err != nil {
		return nil, s.failed(ctx, "read the history", err)
	}
	return runs, nil
}

// history reads in one transaction, in which nobody drops a run between it and its outcomes.
func (s *Store) history(ctx context.Context, q HistoryQuery) ([]Run, error) {
	if q.Limit <= 0 {
		q.Limit = defaultPage
	}
	if q.Before <= 0 {
		q.Before = math.MaxInt64
	}
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	find, args := s.find.runs, []any{q.Before, min(q.Limit, maxPage)}
	if q.Job != "" {
		find, args = s.find.runsOf, append([]any{q.Job}, args...)
	}
	runs, err := findRuns(ctx, tx.StmtContext(ctx, find), args...)
	if err != nil {
		return nil, err
	}
	return runs, findOutcomes(ctx, tx.StmtContext(ctx, s.find.outcomes), runs)
}

// runColumns are in the order of findRuns.
const runColumns = "r.id, j.name, r.cause, r.error, r.started, r.ended, r.keep, r.import, r.refuse, r.failed, r.deferred, r.pulls, r.bytes, " +
	"r.bytes_mounted, r.unverified, r.more, r.repeats, r.since, r.size, r.outcome"

func findRuns(ctx context.Context, find *sql.Stmt, args ...any) ([]Run, error) {
	rows, err := find.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var runs []Run
	for total := int64(0); rows.Next(); {
		var r Run
		var started, ended, since, size int64
		err := rows.Scan(&r.ID, &r.Job, &r.Trigger, &r.Error, &started, &ended, &r.Keep, &r.Import, &r.Refuse, &r.Failed, &r.Deferred,
			&r.Pulls, &r.Bytes, &r.BytesMounted, &r.Unverified, &r.More, &r.Repeats, &since, &size, &r.Outcome)
		if err != nil {
			return nil, err
		}
		if total += size; total > maxPageSize && len(runs) > 0 {
			break
		}
		r.Started, r.Ended, r.Since = timeOf(started), timeOf(ended), timeOf(since)
		runs = append(runs, r)
	}
	return runs, rows.Err()
}

// findOutcomes gives runs their outcomes.
func findOutcomes(ctx context.Context, find *sql.Stmt, runs []Run) error {
	byID := make(map[int64]*Run, len(runs))
	ids := make([]int64, len(runs))
	for i := range runs {
		byID[runs[i].ID], ids[i] = &runs[i], runs[i].ID
	}
	rows, err := find.QueryContext(ctx, jsonText(ids))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var o RunOutcome
		var run, duration, retryAt int64
		err := rows.Scan(&run, &o.Op, &o.Outcome, &o.Reason, &o.Source, &o.Target, &o.Digest, &o.Was, &o.Engine, &o.Error, &o.Code,
			&o.Pulls, &o.Bytes, &o.BytesMounted, &duration, &retryAt, &o.Unverified)
		if err != nil {
			return err
		}
		o.Duration, o.RetryAt = time.Duration(duration), timeOf(retryAt)
		if r := byID[run]; r != nil {
			r.Outcomes = append(r.Outcomes, o)
		}
	}
	return rows.Err()
}
