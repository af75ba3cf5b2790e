package store

import (
	"context"
	"fmt"

	"github.com/draysync/dray/internal/record"
)

// allJobs is the name under which the pause of all jobs is kept.
const allJobs = ""

// Pauses returns the pauses in force by the jobs' names, that of all jobs by the empty one.
func (s *Store) Pauses(ctx context.Context) (map[string]record.Pause, error) {
	if s.damaged.Load() {
		return map[string]record.Pause{}, nil
	}
	pauses, err := s.pauses(ctx)
	if err != nil {
		return nil, s.failed(ctx, "read which jobs are paused", err)
	}
	return pauses, nil
}

func (s *Store) pauses(ctx context.Context) (map[string]record.Pause, error) {
	rows, err := s.query(ctx, "SELECT name, since, who, reason FROM {pauses}")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	pauses := map[string]record.Pause{}
	for rows.Next() {
		var name string
		var since int64
		var p record.Pause
		if err := rows.Scan(&name, &since, &p.By, &p.Reason); err != nil {
			return nil, err
		}
		p.Since, p.All = timeOf(since), name == allJobs
		pauses[name] = p
	}
	return pauses, rows.Err()
}

// KeepPause saves the pause of a job, or of all jobs where the name is empty. Unlike the other writes of a store it fails where nothing is
// kept any more.
func (s *Store) KeepPause(ctx context.Context, job string, p record.Pause) error {
	if err := checkJob(job); err != nil && job != allJobs {
		return fmt.Errorf("store: keep a pause: %w", err)
	}
	if s.damaged.Load() {
		return errDamaged
	}
	const query = "INSERT INTO {pauses} (name, since, who, reason) VALUES (?, ?, ?, ?) " +
		"ON CONFLICT (name) DO UPDATE SET since = excluded.since, who = excluded.who, reason = excluded.reason"
	return s.write(ctx, "keep a pause", do(query, job, milliseconds(p.Since), record.Text(p.By), record.Text(p.Reason)))
}

// DropPauses deletes the pauses of jobs, by their names. It fails as [Store.KeepPause] does.
func (s *Store) DropPauses(ctx context.Context, jobs []string) error {
	if s.damaged.Load() {
		return errDamaged
	}
	return s.write(ctx, "end a pause", do("DELETE FROM {pauses} WHERE name {in texts}", array(jobs)))
}

// Pauses returns the pauses in force by the jobs' names, that of all jobs by the empty one.
func (m *Member) Pauses(ctx context.Context) (map[string]record.Pause, error) {
	return m.ledger.Pauses(ctx)
}

// Pause has no process begin a run of a job, or of any where the name is empty, unless someone asks for one from now on. A pause that is in
// force keeps its time. It returns false if there is no such job.
func (m *Member) Pause(ctx context.Context, job string, p record.Pause) (found bool, err error) {
	forget := do("UPDATE {jobs} SET anyway = false WHERE anyway AND name = ?", job)
	const fields, change = "INSERT INTO {pauses} (name, since, who, reason) ", " ON CONFLICT (name) DO UPDATE SET who = excluded.who, reason = excluded.reason"
	keep := do(fields+"SELECT name, ?::bigint, ?::text, ?::text FROM {jobs} WHERE name = ? AND NOT removed"+change, now, record.Text(p.By), record.Text(p.Reason), job)
	if job == allJobs {
		forget = do("UPDATE {jobs} SET anyway = false WHERE anyway")
		keep = do(fields+"VALUES ('', ?, ?, ?)"+change, now, record.Text(p.By), record.Text(p.Reason))
	}
	changed, err := m.ledger.transact(ctx, forget, keep)
	return changed > 0, m.ledger.failed(ctx, "pause "+job, err)
}

// Resume ends the pause of a job, or of all jobs where the name is empty. It returns false if there is no such job.
func (m *Member) Resume(ctx context.Context, job string) (found bool, err error) {
	changed, err := m.ledger.transact(ctx, do("DELETE FROM {pauses} WHERE name = ?", job), do("UPDATE {jobs} SET anyway = false WHERE name = ? AND NOT removed", job))
	return changed > 0 || job == allJobs, m.ledger.failed(ctx, "resume "+job, err)
}
