package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/draysync/dray/internal/record"
)

const (
	// maxActions and maxRun limit the saved actions of a run, in number and in approximate bytes.
	maxActions = 200
	maxRun     = 256 << 10
	// runSize and actionSize are the approximate sizes of a row without its texts, in bytes.
	runSize    = 100
	actionSize = 50
)

// KeepRun saves a run and the state of its job after it, all or nothing. It ignores the run's own ID, Duration, More, Repeats and Since,
// and leaves out actions that changed nothing. Of the others it saves 200 and 256 KiB, failed ones first, in the order given; of each text
// 4 KiB. A run that had nothing to do replaces the previous one if both are equal except for their times. The state replaces the previous
// one, whoever wrote that.
func (s *Store) KeepRun(ctx context.Context, run record.JobRun, state record.State) error {
	if err := checkJob(run.Job); err != nil {
		return fmt.Errorf("store: keep a run: %w", err)
	}
	bound(&run)
	return s.write(ctx, "keep a run of "+run.Job, func(tx *sql.Tx) error {
		job, err := s.putJob(ctx, tx, run.Job, state)
		if err != nil {
			return err
		}
		id, err := putRun(ctx, tx, job, &run)
		if err != nil {
			return err
		}
		return putActions(ctx, tx, id, run.Actions)
	})
}

// bound cuts a run to what is saved. It does not change the caller's data.
func bound(r *record.JobRun) {
	r.Error, r.Trigger = record.Text(r.Error), record.Trigger(record.Text(string(r.Trigger)))
	all := r.Actions
	var order []int
	for i, a := range all {
		if a.Outcome != record.Kept {
			order = append(order, i)
		}
	}
	r.More = len(order)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rank(all[a]), rank(all[b])) })
	order = order[:min(len(order), maxActions)]
	size := 0
	for n, i := range order {
		if size += actionBytes(all[i].WithTexts(record.Text)); size > maxRun {
			order = order[:n]
			break
		}
	}
	slices.Sort(order)
	r.More -= len(order)
	r.Actions = nil
	for _, i := range order {
		r.Actions = append(r.Actions, all[i].WithTexts(record.Text))
	}
}

// rank is smaller for actions that are saved first.
func rank(a record.Action) int {
	if a.Outcome.Failure() {
		return 0
	}
	return 1
}

// actionBytes returns the approximate size of an action.
func actionBytes(a record.Action) int {
	size := actionSize + len(a.Outcome)
	for _, text := range a.Texts() {
		size += len(*text)
	}
	return size
}

// runBytes returns the approximate size of a run with its actions.
func runBytes(r *record.JobRun) int {
	size := runSize + len(r.Error)
	for _, a := range r.Actions {
		size += actionBytes(a)
	}
	return size
}

// quiet reports whether a run had nothing to do: replacing it by an equal one loses nothing.
func quiet(r *record.JobRun) bool {
	c := r.Counts
	c.Keep, c.Unverified = 0, 0
	return r.Outcome == record.RunOK && r.Error == "" && r.More+len(r.Actions) == 0 && c == record.Counts{}
}

// runColumns are in the order of putRun; those of findRuns come before them.
const runColumns = countColumns + ", started, ended, error, outcome, cause, repeats, since, more, size"

// putRun writes a run without its actions. It then deletes the run that it replaces, so that its id is larger.
func putRun(ctx context.Context, tx *sql.Tx, job int64, r *record.JobRun) (id int64, err error) {
	var equal, since int64
	repeats, quiet := 0, quiet(r)
	if quiet {
		const query = "SELECT id, repeats + 1, CASE WHEN repeats = 0 THEN started ELSE since END FROM runs " +
			"WHERE id = (SELECT max(id) FROM runs WHERE job = ?) AND quiet AND keep = ? AND unverified = ? AND cause = ?"
		err := tx.QueryRowContext(ctx, query, job, r.Counts.Keep, r.Counts.Unverified, r.Trigger).Scan(&equal, &repeats, &since)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
	}
	query := "INSERT INTO runs (" + runColumns + ", job, quiet) VALUES (" + marks(runColumns+", job, quiet") + ") RETURNING id"
	values := append(countFields(&r.Counts), milliseconds(r.Started), milliseconds(r.Ended), r.Error, r.Outcome, r.Trigger, repeats, since, r.More, runBytes(r), job, quiet)
	err = tx.QueryRowContext(ctx, query, values...).Scan(&id)
	if err == nil && equal != 0 {
		_, err = tx.ExecContext(ctx, "DELETE FROM runs WHERE id = ?", equal)
	}
	return id, err
}

// actionColumns are in the order of putActions and of findActions.
const actionColumns = "op, reason, source, target, digest, was, engine, error, code, outcome, pulls, bytes, bytes_mounted, unverified, duration, retry_at"

// actionFields returns pointers to the first fields of actionColumns, for reading and for writing.
func actionFields(a *record.Action) []any {
	return []any{
		&a.Op, &a.Reason, &a.Source, &a.Target, &a.Digest, &a.Was, &a.Engine, &a.Error, &a.Code, &a.Outcome,
		&a.Pulls, &a.Bytes, &a.Mounted, &a.Unverified,
	}
}

func putActions(ctx context.Context, tx *sql.Tx, run int64, actions []record.Action) error {
	if len(actions) == 0 {
		return nil
	}
	insert, err := tx.PrepareContext(ctx, "INSERT INTO outcomes ("+actionColumns+", run, position) VALUES ("+marks(actionColumns+", run, position")+")")
	if err != nil {
		return err
	}
	defer func() { _ = insert.Close() }()
	for i, a := range actions {
		var retryAt int64
		if a.RetryAt != nil {
			retryAt = milliseconds(*a.RetryAt)
		}
		if _, err := insert.ExecContext(ctx, append(actionFields(&a), int64(a.Duration), retryAt, run, i)...); err != nil {
			return err
		}
	}
	return nil
}
