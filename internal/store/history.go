package store

import (
	"context"
	"database/sql"
	"math"

	"github.com/draysync/dray/internal/record"
)

const (
	defaultPage = 50
	maxPage     = 1000
	// maxPageSize limits the runs of one answer, in bytes, unless the first takes more.
	maxPageSize = 4 << 20
)

// HistoryQuery selects runs.
type HistoryQuery struct {
	// Job is the name of the job; empty for all.
	Job string
	// Limit is the maximum number of runs: 50 if it is 0, and never more than 1000.
	Limit int
	// Before is the ID of a run; only older ones are returned. 0 for the newest.
	Before int64
}

// History returns runs with their actions, the newest first. If they have many actions, it returns fewer runs than the limit: only an empty
// answer is the end.
func (s *Store) History(ctx context.Context, q HistoryQuery) ([]record.JobRun, error) {
	if s.damaged.Load() {
		return nil, nil
	}
	runs, err := s.history(ctx, q)
	if err != nil {
		return nil, s.failed(ctx, "read the history", err)
	}
	return runs, nil
}

// history reads in one transaction, so that no one deletes a run before its actions are read.
func (s *Store) history(ctx context.Context, q HistoryQuery) ([]record.JobRun, error) {
	if q.Limit <= 0 {
		q.Limit = defaultPage
	}
	if q.Before <= 0 {
		q.Before = math.MaxInt64
	}
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{Isolation: s.dialect.snapshot(), ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	find, args := s.find.runs, []any{q.Before, min(q.Limit, maxPage)}
	if q.Job != "" {
		find, args = s.find.runsOf, append([]any{q.Job}, args...)
	}
	runs, err := findRuns(ctx, find.in(ctx, tx), args...)
	if err != nil {
		return nil, err
	}
	return runs, findActions(ctx, s.find.actions.in(ctx, tx), runs)
}

func findRuns(ctx context.Context, find finder, args ...any) ([]record.JobRun, error) {
	rows, err := find.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var runs []record.JobRun
	for total := int64(0); rows.Next(); {
		var r record.JobRun
		var started, ended, since, size int64
		fields := append(countFields(&r.Counts), &started, &ended, &r.Error, &r.Outcome, &r.Trigger, &r.Repeats, &since, &r.More, &size, &r.ID, &r.Job)
		if err := rows.Scan(fields...); err != nil {
			return nil, err
		}
		if total += size; total > maxPageSize && len(runs) > 0 {
			break
		}
		r.Started, r.Ended, r.Since = timeOf(started), timeOf(ended), timeOf(since)
		r.Duration = record.Seconds(r.Ended.Sub(r.Started))
		runs = append(runs, r)
	}
	return runs, rows.Err()
}

// findActions reads the actions of runs.
func findActions(ctx context.Context, find finder, runs []record.JobRun) error {
	byID := make(map[int64]*record.JobRun, len(runs))
	ids := make([]int64, len(runs))
	for i := range runs {
		byID[runs[i].ID], ids[i] = &runs[i], runs[i].ID
	}
	rows, err := find.QueryContext(ctx, array(ids))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var a record.Action
		var run, duration, retryAt int64
		if err := rows.Scan(append(actionFields(&a), &duration, &retryAt, &run)...); err != nil {
			return err
		}
		if a.Duration = record.Seconds(duration); retryAt != 0 {
			a.RetryAt = new(timeOf(retryAt))
		}
		if r := byID[run]; r != nil {
			r.Actions = append(r.Actions, a)
		}
	}
	return rows.Err()
}
