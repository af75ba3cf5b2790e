package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/draysync/dray/internal/record"
)

// maxJob bounds the name of a job, in bytes.
const maxJob = 1024

// JobState is what lasts of a job over restarts. Times are exact to a millisecond, and come back in UTC; zero is no time.
type JobState struct {
	Job string
	// Fingerprint is that of the job as it last ran.
	Fingerprint string
	// Anchor is from when on an interval counts.
	Anchor time.Time
	// Started and Ended are of the last run.
	Started, Ended time.Time
	// Succeeded is when the last run ended that had no failure.
	Succeeded time.Time
	// Failures counts the runs with failures since then.
	Failures int
	// Deferred is until when what a budget has put off waits; Given is when a run that followed such a wait last brought something, and
	// Vain counts those in a row that did not.
	Deferred, Given time.Time
	Vain            int
	// Due is when it runs next, and DueTrigger why, as the job that has the fingerprint Planned. Asked is set where somebody wants
	// another run after the one under way.
	Due        time.Time
	DueTrigger string
	Planned    string
	Asked      bool
	// Begun is when the run under way began, and BegunTrigger why; zero where there is none.
	Begun        time.Time
	BegunTrigger string
	// Last is the run that ended last, without its outcomes; nil for none. It is read and not written.
	Last *Run
}

// JobStates returns what is kept of jobs, by name: also of those that no config has any more, until [Store.Prune] forgets them.
func (s *Store) JobStates(ctx context.Context) (map[string]JobState, error) {
	if s.damaged.Load() {
		return map[string]JobState{}, nil
	}
	states, err := s.jobStates(ctx)
	if err != nil {
		return map[string]JobState{}, s.failed(ctx, "read the states of jobs", err)
	}
	return states, nil
}

func (s *Store) jobStates(ctx context.Context) (map[string]JobState, error) {
	rows, err := s.find.jobs.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	states := map[string]JobState{}
	for rows.Next() {
		j, err := scanJob(rows)
		if err != nil {
			return nil, err
		}
		states[j.Job] = j
	}
	return states, rows.Err()
}

// jobColumns are in the order of scanJob and of putJob, after the name.
const jobColumns = "fingerprint, anchor, started, ended, succeeded, failures, deferred, given, vain, due, due_cause, planned, asked, begun, begun_cause"

func scanJob(rows *sql.Rows) (j JobState, err error) {
	var anchor, started, ended, succeeded, deferred, given, due, begun int64
	var last Run
	var lastStarted, lastEnded int64
	err = rows.Scan(&j.Job, &j.Fingerprint, &anchor, &started, &ended, &succeeded, &j.Failures, &deferred, &given, &j.Vain, &due, &j.DueTrigger,
		&j.Planned, &j.Asked, &begun, &j.BegunTrigger,
		&last.ID, &last.Trigger, &last.Error, &last.Outcome, &lastStarted, &lastEnded, &last.Keep, &last.Import, &last.Refuse, &last.Failed,
		&last.Deferred, &last.Pulls, &last.Bytes, &last.BytesMounted, &last.Unverified)
	j.Anchor, j.Started, j.Ended, j.Succeeded = timeOf(anchor), timeOf(started), timeOf(ended), timeOf(succeeded)
	j.Deferred, j.Given, j.Due, j.Begun = timeOf(deferred), timeOf(given), timeOf(due), timeOf(begun)
	if last.ID != 0 {
		last.Job, last.Started, last.Ended = j.Job, timeOf(lastStarted), timeOf(lastEnded)
		j.Last = &last
	}
	return j, err
}

// KeepJobs notes the states of jobs, all or none, and that the jobs were seen.
func (s *Store) KeepJobs(ctx context.Context, states []JobState) error {
	for _, state := range states {
		if err := checkJob(state.Job); err != nil {
			return fmt.Errorf("store: keep the states of jobs: %w", err)
		}
	}
	if len(states) == 0 {
		return nil
	}
	return s.write(ctx, "keep the states of jobs", func(tx *sql.Tx) error {
		for _, state := range states {
			if _, err := s.putJob(ctx, tx, state); err != nil {
				return err
			}
		}
		return nil
	})
}

// TouchJobs notes that jobs are still wanted: [Store.Prune] forgets those that were not for 90 days. [Store.KeepRun] and
// [Store.KeepJobs] note it too, so that it matters for jobs that run less often. It writes at most once a day, and nothing of
// jobs that have no state.
func (s *Store) TouchJobs(ctx context.Context, names []string) error {
	if s.damaged.Load() {
		return nil
	}
	for chunk := range slices.Chunk(names, chunkSize) {
		if err := s.touchJobs(ctx, jsonText(chunk)); err != nil {
			return s.failed(ctx, "note which jobs there are", err)
		}
	}
	return nil
}

func (s *Store) touchJobs(ctx context.Context, names string) error {
	const stale = "name IN (SELECT value FROM json_each(?)) AND seen NOT BETWEEN ? AND ?"
	now, day := s.now(), touchAfter.Milliseconds()
	var some bool
	err := s.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM jobs WHERE "+stale+")", names, now-day, now+day).Scan(&some)
	if err != nil || !some {
		return err
	}
	return s.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE jobs SET seen = ? WHERE "+stale, now, names, now-day, now+day)
		return err
	})
}

// putJob writes a state, and returns the id of the job.
func (s *Store) putJob(ctx context.Context, tx *sql.Tx, j JobState) (id int64, err error) {
	const query = "INSERT INTO jobs (name, " + jobColumns + ", seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) " +
		"ON CONFLICT (name) DO UPDATE SET (" + jobColumns + ", seen) = (excluded.fingerprint, excluded.anchor, excluded.started, excluded.ended, " +
		"excluded.succeeded, excluded.failures, excluded.deferred, excluded.given, excluded.vain, excluded.due, excluded.due_cause, " +
		"excluded.planned, excluded.asked, excluded.begun, excluded.begun_cause, excluded.seen) RETURNING id"
	err = tx.QueryRowContext(ctx, query, j.Job, record.Text(j.Fingerprint), milliseconds(j.Anchor), milliseconds(j.Started),
		milliseconds(j.Ended), milliseconds(j.Succeeded), j.Failures, milliseconds(j.Deferred), milliseconds(j.Given), j.Vain,
		milliseconds(j.Due), j.DueTrigger, record.Text(j.Planned), j.Asked, milliseconds(j.Begun), j.BegunTrigger, s.now()).Scan(&id)
	return id, err
}

// checkJob refuses what is no name of a job. It is wider than what a config allows, and keeps out what JSON would not give back.
func checkJob(name string) error {
	if name == "" || len(name) > maxJob || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%q is not the name of a job", bounded(name))
	}
	return nil
}

// milliseconds is a time as the tables have it.
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

// jsonText makes JSON of names and numbers, which cannot fail.
func jsonText[V []string | []int64 | map[string]int64](v V) string {
	text, _ := json.Marshal(v)
	return string(text)
}
