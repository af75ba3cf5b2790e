package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/draysync/dray/internal/record"
)

const (
	// maxOutcomes and maxRun bound what is kept of one run's outcomes: their number, and about how many bytes they take.
	maxOutcomes = 200
	maxRun      = 256 << 10
	// runSize and outcomeSize are about what a row takes without its texts, in bytes.
	runSize     = 100
	outcomeSize = 50
	// statusKept is the outcome of an action that had nothing to do.
	statusKept = "kept"
)

// Run is one run of a job that has ended. Times are exact to a millisecond, and come back in UTC.
type Run struct {
	// ID is given by [Store.KeepRun]; later runs have larger ones.
	ID  int64
	Job string
	// Trigger is why it ran.
	Trigger string
	// Outcome is how it ended.
	Outcome record.Result
	// Error is why it failed, or the first thing of it that did; empty where nothing did.
	Error          string
	Started, Ended time.Time
	// How many actions ended in which way.
	Keep, Import, Refuse, Failed, Deferred int
	Pulls                                  int
	Bytes, BytesMounted                    int64
	// Unverified counts those whose target could not be looked at.
	Unverified int
	// Outcomes are those of actions that were not kept as they are.
	Outcomes []RunOutcome
	// More counts outcomes that are not kept.
	More int
	// Repeats counts runs right before this one that had nothing to do either and were equal to it but for their times: this one
	// stands for them too. Since is when the first of them started; zero where there is none.
	Repeats int
	Since   time.Time
}

// RunOutcome is how one action of a run ended.
type RunOutcome struct {
	Op, Outcome, Reason         string
	Source, Target, Digest, Was string
	Engine, Error, Code         string
	Pulls                       int
	Bytes, BytesMounted         int64
	Unverified                  bool
	Duration                    time.Duration
	// RetryAt is when a deferred action may be tried again; zero otherwise.
	RetryAt time.Time
}

// texts are the fields that have no bound of their own.
func (o *RunOutcome) texts() []*string {
	return []*string{&o.Op, &o.Outcome, &o.Reason, &o.Source, &o.Target, &o.Digest, &o.Was, &o.Engine, &o.Error, &o.Code}
}

// KeepRun notes a run and what the state of its job is after it, all or nothing, and returns the run's ID: 0 where nothing was
// kept. It ignores the run's own ID, More, Repeats and Since, and leaves out outcomes that are "kept". Of the others 200 are kept
// and 256 KiB, failed ones first, in the order given; of each text 4 KiB. A run that had nothing to do takes the place of one right
// before it that was equal but for its times. The state replaces the one before, whoever has written that.
func (s *Store) KeepRun(ctx context.Context, run Run, state JobState) (id int64, err error) {
	if err := checkJob(run.Job); err != nil {
		return 0, fmt.Errorf("store: keep a run: %w", err)
	}
	if state.Job != run.Job {
		return 0, fmt.Errorf("store: keep a run of %s: the state is that of %s", run.Job, bounded(state.Job))
	}
	run.bound()
	err = s.write(ctx, "keep a run of "+run.Job, func(tx *sql.Tx) error {
		job, err := s.putJob(ctx, tx, state)
		if err != nil {
			return err
		}
		if id, err = putRun(ctx, tx, job, &run); err != nil {
			return err
		}
		return putOutcomes(ctx, tx, id, run.Outcomes)
	})
	if err != nil || s.damaged.Load() {
		return 0, err
	}
	return id, nil
}

// bound cuts a run down to what is kept of it. What belongs to the caller stays as it is.
func (r *Run) bound() {
	r.Error, r.Trigger = record.Text(r.Error), record.Text(r.Trigger)
	all := r.Outcomes
	var order []int
	for i, o := range all {
		if o.Outcome != statusKept {
			order = append(order, i)
		}
	}
	r.More = len(order)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rank(all[a]), rank(all[b])) })
	order = order[:min(len(order), maxOutcomes)]
	size := 0
	for n, i := range order {
		if size += all[i].bounded().size(); size > maxRun {
			order = order[:n]
			break
		}
	}
	slices.Sort(order)
	r.More -= len(order)
	r.Outcomes = nil
	for _, i := range order {
		r.Outcomes = append(r.Outcomes, all[i].bounded())
	}
}

// rank is smaller for an outcome that is rather kept than others.
func rank(o RunOutcome) int {
	if o.Outcome == "failed" {
		return 0
	}
	return 1
}

func (o RunOutcome) bounded() RunOutcome {
	for _, text := range o.texts() {
		*text = record.Text(*text)
	}
	return o
}

func (o RunOutcome) size() int {
	size := outcomeSize
	for _, text := range o.texts() {
		size += len(*text)
	}
	return size
}

func (r *Run) size() int {
	size := runSize + len(r.Error)
	for _, o := range r.Outcomes {
		size += o.size()
	}
	return size
}

// quiet tells whether nothing was to do: nothing is lost where an equal run takes the place of this one.
func (r *Run) quiet() bool {
	return r.Outcome == record.OK && r.Error == "" && r.More+len(r.Outcomes)+r.Import+r.Refuse+r.Failed+r.Deferred+r.Pulls == 0 && r.Bytes == 0 && r.BytesMounted == 0
}

// putRun writes a run without its outcomes. What it takes the place of goes after it, so that its id is larger.
func putRun(ctx context.Context, tx *sql.Tx, job int64, r *Run) (id int64, err error) {
	var equal, since int64
	repeats := 0
	if r.quiet() {
		const query = "SELECT id, repeats + 1, CASE WHEN repeats = 0 THEN started ELSE since END FROM runs " +
			"WHERE id = (SELECT max(id) FROM runs WHERE job = ?) AND quiet AND keep = ? AND unverified = ? AND cause = ?"
		err := tx.QueryRowContext(ctx, query, job, r.Keep, r.Unverified, r.Trigger).Scan(&equal, &repeats, &since)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
	}
	const query = "INSERT INTO runs (job, cause, started, ended, keep, import, refuse, failed, deferred, pulls, bytes, bytes_mounted, unverified, " +
		"quiet, repeats, since, more, size, error, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
	err = tx.QueryRowContext(ctx, query, job, r.Trigger, milliseconds(r.Started), milliseconds(r.Ended), r.Keep, r.Import, r.Refuse, r.Failed,
		r.Deferred, r.Pulls, r.Bytes, r.BytesMounted, r.Unverified, r.quiet(), repeats, since, r.More, r.size(), r.Error, r.Outcome).Scan(&id)
	if err == nil && equal != 0 {
		_, err = tx.ExecContext(ctx, "DELETE FROM runs WHERE id = ?", equal)
	}
	return id, err
}

// outcomeColumns are in the order of putOutcomes and of RunOutcome.scan.
const outcomeColumns = "op, outcome, reason, source, target, digest, was, engine, error, code, pulls, bytes, bytes_mounted, duration, retry_at, unverified"

func putOutcomes(ctx context.Context, tx *sql.Tx, run int64, outcomes []RunOutcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	insert, err := tx.PrepareContext(ctx, "INSERT INTO outcomes (run, position, "+outcomeColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer func() { _ = insert.Close() }()
	for i, o := range outcomes {
		_, err := insert.ExecContext(ctx, run, i, o.Op, o.Outcome, o.Reason, o.Source, o.Target, o.Digest, o.Was, o.Engine, o.Error, o.Code,
			o.Pulls, o.Bytes, o.BytesMounted, int64(o.Duration), milliseconds(o.RetryAt), o.Unverified)
		if err != nil {
			return err
		}
	}
	return nil
}
