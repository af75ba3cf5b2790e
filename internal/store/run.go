package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

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
	list := append([]statement{s.putJob(run.Job, state)}, putRun(&run)...)
	return s.writeOnce(ctx, "keep a run of "+run.Job, append(list, putActions(&run)...)...)
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

// runColumns are in the order of findRuns, but for what it adds.
const runColumns = countColumns + ", started, ended, error, outcome, cause, repeats, since, more, size"

// putRun writes a run without its actions, and deletes the run that it replaces, so that its id is larger.
func putRun(r *record.JobRun) []statement {
	const columns = countColumns + ", started, ended, error, outcome, cause, more, size, quiet"
	const equal = "quiet AND keep = ? AND unverified = ? AND cause = ?"
	values := append(countFields(&r.Counts), milliseconds(r.Started), milliseconds(r.Ended), r.Error, r.Outcome, r.Trigger, r.More, runBytes(r), quiet(r))
	if !quiet(r) {
		insert := "INSERT INTO {runs} (" + columns + ", job, repeats, since) SELECT " + marks(columns) + ", id, 0, 0 FROM {jobs} WHERE name = ?"
		return []statement{do(insert, append(values, r.Job)...)}
	}
	insert := "INSERT INTO {runs} (" + columns + ", job, repeats, since) SELECT " + marks(columns) + ", j.id, " +
		"coalesce(e.repeats + 1, 0), CASE WHEN e.repeats = 0 THEN e.started ELSE coalesce(e.since, 0) END " +
		"FROM {jobs} j LEFT JOIN {runs} e ON e.id = (SELECT max(id) FROM {runs} WHERE job = j.id) AND " + equal + " WHERE j.name = ?"
	const replaced = "DELETE FROM {runs} WHERE id = (SELECT id FROM {runs} WHERE job = (SELECT id FROM {jobs} WHERE name = ?) " +
		"ORDER BY id DESC LIMIT 1 OFFSET 1) AND " + equal
	same := []any{r.Counts.Keep, r.Counts.Unverified, r.Trigger}
	return []statement{
		do(insert, slices.Concat(values, same, []any{r.Job})...),
		do(replaced, append([]any{r.Job}, same...)...),
	}
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

// putActions writes the actions of the job's last run.
func putActions(r *record.JobRun) []statement {
	if len(r.Actions) == 0 {
		return nil
	}
	const columns = actionColumns + ", position"
	const values = "column1, column2, column3, column4, column5, column6, column7, column8, column9, column10, " +
		"CAST(column11 AS BIGINT), CAST(column12 AS BIGINT), CAST(column13 AS BIGINT), CAST(column14 AS BOOLEAN), " +
		"CAST(column15 AS BIGINT), CAST(column16 AS BIGINT), CAST(column17 AS BIGINT)"
	args := []any{r.Job}
	for i, a := range r.Actions {
		var retryAt int64
		if a.RetryAt != nil {
			retryAt = milliseconds(*a.RetryAt)
		}
		args = append(args, append(actionFields(&a), int64(a.Duration), retryAt, i)...)
	}
	row := "(" + marks(columns) + ")"
	query := "INSERT INTO {outcomes} (" + columns + ", run) SELECT " + values + ", " +
		"(SELECT max(id) FROM {runs} WHERE job = (SELECT id FROM {jobs} WHERE name = ?)) FROM (VALUES " + row + strings.Repeat(", "+row, len(r.Actions)-1) + ") a"
	return []statement{do(query, args...)}
}
