package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
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
		var j JobState
		var anchor, started, ended, succeeded int64
		if err := rows.Scan(&j.Job, &j.Fingerprint, &anchor, &started, &ended, &succeeded, &j.Failures); err != nil {
			return nil, err
		}
		j.Anchor, j.Started, j.Ended, j.Succeeded = timeOf(anchor), timeOf(started), timeOf(ended), timeOf(succeeded)
		states[j.Job] = j
	}
	return states, rows.Err()
}

// KeepAnchors notes the anchors of jobs by name, all or none, and that the jobs were seen; what else is known of them stays.
func (s *Store) KeepAnchors(ctx context.Context, anchors map[string]time.Time) error {
	for job := range anchors {
		if err := checkJob(job); err != nil {
			return fmt.Errorf("store: keep anchors: %w", err)
		}
	}
	if len(anchors) == 0 {
		return nil
	}
	return s.write(ctx, "keep the anchors of jobs", func(tx *sql.Tx) error {
		const query = "INSERT INTO jobs (name, fingerprint, anchor, started, ended, succeeded, failures, seen) " +
			"SELECT key, '', value, 0, 0, 0, 0, ? FROM json_each(?) WHERE true " +
			"ON CONFLICT (name) DO UPDATE SET anchor = excluded.anchor, seen = excluded.seen"
		for names := range slices.Chunk(slices.Sorted(maps.Keys(anchors)), chunkSize) {
			chunk := make(map[string]int64, len(names))
			for _, name := range names {
				chunk[name] = milliseconds(anchors[name])
			}
			if _, err := tx.ExecContext(ctx, query, s.now(), jsonText(chunk)); err != nil {
				return err
			}
		}
		return nil
	})
}

// TouchJobs notes that jobs are still wanted: [Store.Prune] forgets those that were not for 90 days. [Store.KeepRun] and
// [Store.KeepAnchors] note it too, so that it matters for jobs that run less often. It writes at most once a day, and nothing of
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
	const query = "INSERT INTO jobs (name, fingerprint, anchor, started, ended, succeeded, failures, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?) " +
		"ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint, anchor = excluded.anchor, started = excluded.started, " +
		"ended = excluded.ended, succeeded = excluded.succeeded, failures = excluded.failures, seen = excluded.seen RETURNING id"
	err = tx.QueryRowContext(ctx, query, j.Job, cut(j.Fingerprint), milliseconds(j.Anchor), milliseconds(j.Started), milliseconds(j.Ended),
		milliseconds(j.Succeeded), j.Failures, s.now()).Scan(&id)
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
