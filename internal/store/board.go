package store

import (
	"context"
	"strconv"

	"github.com/draysync/dray/internal/record"
)

// JobStates returns the saved states of jobs, by name, also of those that no config has any more.
func (m *Member) JobStates(ctx context.Context) (map[string]record.State, error) {
	return m.ledger.JobStates(ctx)
}

// Jobs returns the jobs of the generation in force, by name.
func (m *Member) Jobs(ctx context.Context) (map[string]record.SharedJob, error) {
	defer m.asks("board")()
	states, err := m.ledger.JobStates(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := m.ledger.query(ctx, "SELECT j.name, coalesce(m.name, ''), j.anyway FROM {jobs} j LEFT JOIN {members} m ON m.id = j.member WHERE NOT j.removed")
	if err != nil {
		return nil, m.ledger.failed(ctx, "read which jobs there are", err)
	}
	defer func() { _ = rows.Close() }()
	jobs := map[string]record.SharedJob{}
	for rows.Next() {
		var name, replica string
		var anyway bool
		if err := rows.Scan(&name, &replica, &anyway); err != nil {
			return nil, m.ledger.failed(ctx, "read which jobs there are", err)
		}
		state := states[name]
		state.Anyway = anyway
		jobs[name] = record.SharedJob{State: state, Replica: replica}
	}
	return jobs, m.ledger.failed(ctx, "read which jobs there are", rows.Err())
}

// Replicas returns the members that are alive and work on jobs, by name.
func (m *Member) Replicas(ctx context.Context) (all []record.Replica, err error) {
	const query = "SELECT m.id, m.name, m.dray, m.joined, m.expires, m.generation, coalesce(m.generation = (SELECT hash FROM {inforce}), false), (SELECT count(*) FROM {jobs} WHERE member = m.id), (SELECT count(*) FROM {parts} WHERE member = m.id) " +
		"FROM {members} m WHERE m.expires > ? AND NOT m.guest ORDER BY m.name, m.joined"
	rows, err := m.ledger.query(ctx, query, now)
	if err != nil {
		return nil, m.ledger.failed(ctx, "read which replicas there are", err)
	}
	defer func() { _ = rows.Close() }()
	me, _ := m.number()
	for rows.Next() {
		var r record.Replica
		var id, joined, expires int64
		if err := rows.Scan(&id, &r.Name, &r.Dray, &joined, &expires, &r.Generation, &r.InForce, &r.Jobs, &r.Parts); err != nil {
			return nil, m.ledger.failed(ctx, "read which replicas there are", err)
		}
		r.ID, r.Joined, r.Expires, r.Me = strconv.FormatInt(id, 10), timeOf(joined), timeOf(expires), id == me
		all = append(all, r)
	}
	return all, m.ledger.failed(ctx, "read which replicas there are", rows.Err())
}
