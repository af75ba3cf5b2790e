package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/draysync/dray/internal/record"
)

// maxJob limits the name of a job, in bytes.
const maxJob = 1024

// JobStates returns the saved states of jobs, by name. Jobs that no config has any more are included, until [Store.Prune] deletes them.
func (s *Store) JobStates(ctx context.Context) (map[string]record.State, error) {
	if s.damaged.Load() {
		return map[string]record.State{}, nil
	}
	states, err := s.jobStates(ctx)
	if err != nil {
		return map[string]record.State{}, s.failed(ctx, "read the states of jobs", err)
	}
	return states, nil
}

func (s *Store) jobStates(ctx context.Context) (map[string]record.State, error) {
	rows, err := s.find.jobs.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	states := map[string]record.State{}
	for rows.Next() {
		name, state, err := scanJob(rows)
		if err != nil {
			return nil, err
		}
		states[name] = state
	}
	return states, rows.Err()
}

// jobColumns are in the order of scanJob and of putJob, after the name.
const jobColumns = "fingerprint, anchor, started, ended, succeeded, failures, deferred, given, vain, due, due_cause, planned, asked, begun, begun_cause"

func scanJob(rows *sql.Rows) (name string, j record.State, err error) {
	var anchor, started, ended, succeeded, deferred, given, due, begun int64
	var last record.Run
	var run, lastStarted, lastEnded int64
	fields := []any{
		&name, &j.Fingerprint, &anchor, &started, &ended, &succeeded, &j.Failures, &deferred, &given, &j.Vain, &due, &j.Trigger,
		&j.Planned, &j.Asked, &begun, &j.BegunBy, &run, &last.Trigger, &last.Error, &last.Outcome, &lastStarted, &lastEnded,
	}
	err = rows.Scan(append(fields, countFields(&last.Counts)...)...)
	j.Anchor, j.Started, j.Ended, j.Succeeded = timeOf(anchor), timeOf(started), timeOf(ended), timeOf(succeeded)
	j.Deferred, j.Given, j.Due, j.Begun = timeOf(deferred), timeOf(given), timeOf(due), timeOf(begun)
	if run != 0 {
		last.Started, last.Ended = timeOf(lastStarted), timeOf(lastEnded)
		j.Last = &last
	}
	return name, j, err
}

// KeepJobs saves the states of jobs, by name, all or none, and that the jobs were seen.
func (s *Store) KeepJobs(ctx context.Context, states map[string]record.State) error {
	for name := range states {
		if err := checkJob(name); err != nil {
			return fmt.Errorf("store: keep the states of jobs: %w", err)
		}
	}
	if len(states) == 0 {
		return nil
	}
	var list []statement
	for _, name := range slices.Sorted(maps.Keys(states)) { // in one order, so that writers never wait for each other in a circle
		list = append(list, s.putJob(name, states[name]))
	}
	return s.write(ctx, "keep the states of jobs", list...)
}

// TouchJobs records that jobs still exist: [Store.Prune] deletes those that were not seen for 90 days. [Store.KeepRun] and [Store.KeepJobs]
// record it too, so it matters for jobs that run less often. It writes at most once a day, and ignores jobs without a state.
func (s *Store) TouchJobs(ctx context.Context, names []string) error {
	if s.damaged.Load() {
		return nil
	}
	for chunk := range slices.Chunk(names, chunkSize) {
		if err := s.touchJobs(ctx, array(chunk)); err != nil {
			return s.failed(ctx, "note which jobs there are", err)
		}
	}
	return nil
}

func (s *Store) touchJobs(ctx context.Context, names string) error {
	const stale = "SELECT id FROM {jobs} WHERE name {in texts} AND seen NOT BETWEEN ? AND ?"
	var some bool
	err := s.queryRow(ctx, "SELECT EXISTS ("+stale+")", names, dayAgo, dayAhead).Scan(&some)
	if err != nil || !some {
		return err
	}
	_, err = s.transact(ctx, do("UPDATE {jobs} SET seen = ? WHERE id IN ("+stale+" {unlocked})", now, names, dayAgo, dayAhead))
	return err
}

// putJob writes a state.
func (s *Store) putJob(name string, j record.State) statement {
	return do(putJob, name, record.Text(j.Fingerprint), milliseconds(j.Anchor), milliseconds(j.Started),
		milliseconds(j.Ended), milliseconds(j.Succeeded), j.Failures, milliseconds(j.Deferred), milliseconds(j.Given), j.Vain,
		milliseconds(j.Due), j.Trigger, record.Text(j.Planned), j.Asked, milliseconds(j.Begun), j.BegunBy, now)
}

var putJob = "INSERT INTO {jobs} (name, " + jobColumns + ", seen) VALUES (?, " + marks(jobColumns+", seen") + ") " +
	"ON CONFLICT (name) DO UPDATE SET (" + jobColumns + ", seen) = (" + columnsOf("excluded", jobColumns+", seen") + ")"

// checkJob refuses what is not a job name. It accepts more than a config does, but nothing that JSON would change.
func checkJob(name string) error {
	if name == "" || len(name) > maxJob || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%q is not the name of a job", bounded(name))
	}
	return nil
}

// milliseconds returns a time as stored in the tables.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func timeOf(milliseconds int64) time.Time {
	if milliseconds == 0 {
		return time.Time{}
	}
	return time.UnixMilli(milliseconds).UTC()
}
