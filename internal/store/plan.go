package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/draysync/dray/internal/record"
)

// vote notes which generation a member has, if it is alive.
const vote = "UPDATE {members} SET generation = ? WHERE id = ? AND expires > ?"

// electorate are the members that have a say, and what they say; wins says whether a generation is to be put in force: more than half have it;
// or none has the one in force, and this is the one that most have, of equal ones that of the first.
const (
	electorate = `WITH alive AS (SELECT id, generation, joined FROM {members} WHERE expires > ? AND NOT guest),
	votes AS (SELECT generation, count(*) AS n, min(joined) AS first, min(id) AS id FROM alive WHERE generation <> '' GROUP BY generation)`
	wins = `generation = ? AND (
			2 * n > (SELECT count(*) FROM alive)
			OR NOT EXISTS (SELECT 1 FROM alive WHERE generation = (SELECT hash FROM {inforce}))
				AND generation = (SELECT generation FROM votes ORDER BY n DESC, first, id LIMIT 1))`
)

// poll returns the generation in force, and whether another one wins.
const poll = electorate + ` SELECT coalesce((SELECT number FROM {inforce}), 0), coalesce((SELECT hash FROM {inforce}), ''), EXISTS (SELECT 1 FROM votes WHERE ` + wins + `)`

// unseen is the condition that a run of a job has begun, ended or been cut off, of which its new plan may not know: then the job is due.
const unseen = "(jobs.begun <> excluded.begun OR jobs.ended <> excluded.ended OR jobs.begun > 0 AND jobs.member IS NULL)"

// putInForce puts a generation in force if it wins. Jobs that have not changed keep their claims, states and plans.
const putInForce = electorate + `,
	won AS (
		INSERT INTO {inforce} AS f (id, hash, number, taken) SELECT 1, generation, 1, ? FROM votes WHERE ` + wins + `
		ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, number = f.number + 1, taken = excluded.taken
			WHERE f.hash <> excluded.hash AND f.number = (SELECT number FROM {inforce}) RETURNING number),
	plans AS (SELECT * FROM jsonb_to_recordset(?::text::jsonb) AS p (name TEXT, fingerprint TEXT, priority BIGINT, registries TEXT, anchor BIGINT, due BIGINT, cause TEXT, begun BIGINT, ended BIGINT)),
	put AS (
		INSERT INTO {jobs} (name, planned, priority, registries, anchor, due, due_cause, removed, seen,
			fingerprint, started, ended, succeeded, failures, deferred, given, vain, asked, begun, begun_cause)
		SELECT p.name, p.fingerprint, p.priority, p.registries, p.anchor, p.due, p.cause, false, ?, '', 0, p.ended, 0, 0, 0, 0, 0, false, p.begun, ''
		FROM plans p, won ORDER BY p.name
		ON CONFLICT (name) DO UPDATE SET planned = excluded.planned, priority = excluded.priority, registries = excluded.registries, removed = false, seen = excluded.seen,
			anchor = CASE WHEN jobs.planned = excluded.planned AND NOT jobs.removed THEN jobs.anchor ELSE excluded.anchor END,
			due = CASE WHEN jobs.planned = excluded.planned AND NOT jobs.removed THEN jobs.due WHEN jobs.asked OR ` + unseen + ` THEN ? ELSE excluded.due END,
			due_cause = CASE WHEN jobs.planned = excluded.planned AND NOT jobs.removed THEN jobs.due_cause WHEN jobs.asked THEN ? WHEN ` + unseen + ` THEN ? ELSE excluded.due_cause END
		WHERE jobs.removed OR jobs.planned <> excluded.planned OR jobs.priority <> excluded.priority OR jobs.registries <> excluded.registries),
	gone AS (
		UPDATE {jobs} SET removed = true, asked = false, anyway = false WHERE NOT removed AND EXISTS (SELECT 1 FROM won) AND name NOT IN (SELECT name FROM plans)),
	resumed AS (
		DELETE FROM {pauses} WHERE name <> '' AND EXISTS (SELECT 1 FROM won) AND name NOT IN (SELECT name FROM plans))
	SELECT coalesce((SELECT number FROM won), (SELECT number FROM {inforce}), 0), coalesce((SELECT ? FROM won), (SELECT hash FROM {inforce}), '')`

// Offer says which jobs this process has, as a generation with a hash, and reports whether that is in force. If it is not, the others have
// another one: it is to be offered again from time to time. It asks for the jobs only if they are about to be put in force.
func (m *Member) Offer(ctx context.Context, hash string, plans func(context.Context) ([]record.Plan, error)) (decides bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.Lease/2)
	defer cancel()
	id, done, err := m.alone(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	defer m.asks("offer")()
	changed, err := m.ledger.transact(ctx, do(vote, hash, id, now))
	if err == nil && changed == 0 {
		err = errNoMember
	}
	if err != nil {
		return false, m.ledger.failed(ctx, "offer jobs", err)
	}
	var force inForce
	var wins bool
	if err := m.ledger.queryRow(ctx, poll, now, hash).Scan(&force.number, &force.hash, &wins); err != nil {
		return false, m.ledger.failed(ctx, "offer jobs", err)
	}
	if wins && force.hash != hash {
		all, err := plans(ctx)
		if err != nil {
			return false, err
		}
		list, err := plansText(all)
		if err != nil {
			return false, err
		}
		if err := m.ledger.queryRow(ctx, putInForce, now, now, hash, list, now, now, record.Asked, record.First, hash).Scan(&force.number, &force.hash); err != nil {
			return false, m.ledger.failed(ctx, "offer jobs", err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.force = force
	return force.hash == hash, nil
}

// InForce returns the number and the hash of the generation in force, as the last renewal or offer has found them.
func (m *Member) InForce() (number int64, hash string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.force.number, m.force.hash
}

// plansText encodes plans for putInForce.
func plansText(plans []record.Plan) (string, error) {
	type row struct {
		Name        string `json:"name"`
		Fingerprint string `json:"fingerprint"`
		Priority    int    `json:"priority"`
		Registries  string `json:"registries"`
		Anchor      int64  `json:"anchor"`
		Due         int64  `json:"due"`
		Cause       string `json:"cause"`
		Begun       int64  `json:"begun"`
		Ended       int64  `json:"ended"`
	}
	rows := make([]row, len(plans))
	for i, p := range plans {
		if err := checkJob(p.Name); err != nil {
			return "", fmt.Errorf("store: offer jobs: %w", err)
		}
		rows[i] = row{
			p.Name, clean(record.Text(p.Fingerprint)), p.Priority, clean(p.Registries), milliseconds(p.State.Anchor), milliseconds(p.State.Due),
			clean(string(p.State.Trigger)), milliseconds(p.State.Begun), milliseconds(p.State.Ended),
		}
	}
	text, err := json.Marshal(rows)
	return string(text), err
}

// Fingerprints returns those of the jobs of the generation in force, by name.
func (m *Member) Fingerprints(ctx context.Context) (map[string]string, error) {
	rows, err := m.ledger.query(ctx, "SELECT name, planned FROM {jobs} WHERE NOT removed")
	if err != nil {
		return nil, m.ledger.failed(ctx, "read which jobs there are", err)
	}
	defer func() { _ = rows.Close() }()
	jobs := map[string]string{}
	for rows.Next() {
		var name, fingerprint string
		if err := rows.Scan(&name, &fingerprint); err != nil {
			return nil, m.ledger.failed(ctx, "read which jobs there are", err)
		}
		jobs[name] = fingerprint
	}
	return jobs, m.ledger.failed(ctx, "read which jobs there are", rows.Err())
}
