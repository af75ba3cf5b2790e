package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/record"
)

// maxLosses is how many members that have taken a part may be gone before its end.
const maxLosses = 3

// PutParts puts up parts of the run of a claim, so that any member may make them. It gives each an ID. It may be called again with the same parts
// where it has failed.
func (m *Member) PutParts(ctx context.Context, claim *record.Claim, parts []record.PartState) error {
	ctx, cancel := context.WithTimeout(ctx, m.options.Lease/2)
	defer cancel()
	id, err := m.holder(claim.Token)
	if err != nil {
		return err
	}
	rows := make([]string, len(parts))
	for i := range parts {
		if parts[i].ID == 0 {
			parts[i].ID = rand.Int64N(1<<62) + 1
		}
		rows[i] = fmt.Sprintf(`{"id": %d, "position": %d, "imports": %s}`, parts[i].ID, i, list(parts[i].Imports))
	}
	const query = "INSERT INTO {parts} (id, run, job, fingerprint, position, put, imports) " +
		"SELECT p.id, j.token, j.name, ?, p.position, ?, p.imports FROM {jobs} j, jsonb_to_recordset(?::text::jsonb) AS p (id BIGINT, position BIGINT, imports JSONB) " +
		"WHERE j.name = ? AND j.member = ? AND j.token = ? ON CONFLICT (id) DO NOTHING"
	defer m.asks("put_parts")()
	_, err = m.ledger.transact(ctx, do(query, claim.Fingerprint, now, "["+strings.Join(rows, ", ")+"]", claim.Job, id, claim.Token))
	return m.ledger.failed(ctx, "put up parts of "+claim.Job, err)
}

// takePart takes the first part of those that a condition selects, of p and the job j, for a member that is alive.
func takePart(condition string) string {
	return "WITH part AS (SELECT p.id, p.tries > 0 AS again FROM {parts} p JOIN {jobs} j ON j.name = p.job WHERE p.member IS NULL AND p.imports <> '[]' AND p.losses < ? " +
		"AND j.token = p.run AND " + condition + " ORDER BY j.priority DESC, p.position, p.id LIMIT 1 FOR UPDATE OF p SKIP LOCKED) " +
		"UPDATE {parts} SET member = ?, token = nextval('dray.tokens'), taken = ?, tries = tries + 1 FROM part WHERE parts.id = part.id " +
		"AND EXISTS (SELECT 1 FROM {members} WHERE id = ? AND expires > ?) RETURNING parts.id, job, fingerprint, parts.token, imports, outcomes, again, losses"
}

const (
	othersPart = "j.member IS NOT NULL AND j.member <> ? AND j.planned = p.fingerprint AND NOT j.removed AND NOT (p.job {in texts}) " +
		"AND (SELECT coalesce(max(number), 0) FROM {inforce}) = ?"
	ownPart = "j.member = ? AND p.id {in numbers} AND p.run = ?"
)

// TakePart claims a part of the run of another member, of a job of the generation in force that is not in but, those of a higher priority first. If there
// is none it returns nil.
func (m *Member) TakePart(ctx context.Context, but []string) (*record.PartClaim, error) {
	m.mu.Lock()
	force := m.force.number
	m.mu.Unlock()
	return m.takePart(ctx, "other", othersPart, func(id int64) []any { return []any{id, array(but), force} })
}

// TakeOwnPart claims a part of the run of a claim, one of some, in their order. If nobody is to make any it returns nil. The run then has the outcomes of
// the part.
func (m *Member) TakeOwnPart(ctx context.Context, claim *record.Claim, ids []int64) (*record.PartClaim, error) {
	p, err := m.takePart(ctx, "own", ownPart, func(id int64) []any { return []any{id, array(ids), claim.Token} })
	if p != nil {
		m.told(claim, p.ID)
	}
	return p, err
}

func (m *Member) takePart(ctx context.Context, origin, condition string, args func(id int64) []any) (*record.PartClaim, error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.Lease/2)
	defer cancel()
	id, done, err := m.alone(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	p := &record.PartClaim{}
	var imports, outcomes []byte
	var losses int
	answered := m.asks("take_part")
	err = m.ledger.queryRow(ctx, takePart(condition), slices.Concat([]any{maxLosses}, args(id), []any{id, now, id, now})...).
		Scan(&p.ID, &p.Job, &p.Fingerprint, &p.Token, &imports, &outcomes, &p.Again, &losses)
	answered()
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(imports, &p.Imports), json.Unmarshal(outcomes, &p.Outcomes))
	}
	if err != nil {
		return nil, m.ledger.failed(ctx, "take a part", err)
	}
	if p.Lost, err = m.note(id, &claimed{job: p.Job, fingerprint: p.Fingerprint, token: p.Token, part: origin}); err != nil {
		return nil, err
	}
	if losses > 0 {
		m.options.Events.TookOver("part")
	}
	return p, nil
}

// EndPart records the outcomes of imports of a part, and gives back the rest, which others may make; none if all are made. The error is record.ErrLost if others may have the part.
func (m *Member) EndPart(ctx context.Context, part *record.PartClaim, outcomes, rest []json.RawMessage) error {
	ctx, cancel := context.WithTimeout(ctx, m.options.Lease/2)
	defer cancel()
	id, err := m.holder(part.Token)
	if err != nil {
		return err
	}
	const query = "UPDATE {parts} SET member = NULL, imports = ?::text::jsonb, outcomes = outcomes || ?::text::jsonb WHERE id = ? AND member = ? AND token = ?"
	m.mu.Lock()
	c := m.claims[part.Token]
	m.mu.Unlock()
	err = m.settle(ctx, part.Token, "a part of "+part.Job, []statement{do(query, list(rest), list(outcomes), part.ID, id, part.Token)})
	if err == nil && c != nil && len(outcomes) > 0 {
		m.options.Events.Made(c.part)
	}
	return err
}

// Settled returns those parts of the run of a claim, of some, that somebody has taken and nobody is making. Who is making one for longer than a limit loses it.
func (m *Member) Settled(ctx context.Context, claim *record.Claim, ids []int64, limit time.Duration) ([]record.PartState, error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.Lease/2)
	defer cancel()
	id, err := m.holder(claim.Token)
	if err != nil {
		return nil, err
	}
	defer m.asks("parts")()
	const query = "WITH late AS (UPDATE {parts} SET member = NULL, losses = losses + 1 WHERE id {in numbers} AND run = ? AND member <> ? AND taken < ?) " +
		partStates + " WHERE id {in numbers} AND run = ? AND member IS NULL AND tries > 0 ORDER BY position"
	return m.partStates(ctx, claim, query, array(ids), claim.Token, id, moment(-limit), maxLosses, array(ids), claim.Token)
}

// partStates are in the order of the fields of a state.
const partStates = "SELECT id, imports, outcomes, imports <> '[]' AND losses >= ? AND member IS NULL, member IS NOT NULL FROM {parts}"

// Left makes the parts that earlier runs of the job have left parts of the run of a claim: their outcomes, and what others are making. The rest is dropped,
// and who is making parts of the job as it was before it changed loses them.
func (m *Member) Left(ctx context.Context, claim *record.Claim) ([]record.PartState, error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.Lease/2)
	defer cancel()
	id, err := m.holder(claim.Token)
	if err != nil {
		return nil, err
	}
	const mine = "job = ? AND run <> ? AND EXISTS (SELECT 1 FROM {jobs} WHERE name = ? AND member = ? AND token = ?)"
	const under = "member IS NOT NULL AND fingerprint = ?"
	args := []any{claim.Job, claim.Token, claim.Job, id, claim.Token}
	if _, err := m.ledger.transact(ctx,
		do("DELETE FROM {parts} WHERE outcomes = '[]' AND NOT ("+under+") AND "+mine, append([]any{claim.Fingerprint}, args...)...),
		do("UPDATE {parts} SET run = ?, position = 0, imports = CASE WHEN "+under+" THEN imports ELSE '[]' END, member = CASE WHEN "+under+" THEN member END WHERE "+mine,
			append([]any{claim.Token, claim.Fingerprint, claim.Fingerprint}, args...)...)); err != nil {
		return nil, m.ledger.failed(ctx, "read which parts are left of "+claim.Job, err)
	}
	return m.partStates(ctx, claim, partStates+" WHERE run = ?", maxLosses, claim.Token)
}

// DropParts has nobody make the rest of parts of the run of a claim that nobody is making.
func (m *Member) DropParts(ctx context.Context, claim *record.Claim, ids []int64) error {
	_, err := m.ledger.transact(ctx, do("UPDATE {parts} SET imports = '[]' WHERE id {in numbers} AND run = ? AND member IS NULL", array(ids), claim.Token))
	return m.ledger.failed(ctx, "drop parts of "+claim.Job, err)
}

// partStates reads states, and notes of which parts the run of a claim has the outcomes.
func (m *Member) partStates(ctx context.Context, claim *record.Claim, query string, args ...any) (all []record.PartState, err error) {
	rows, err := m.ledger.query(ctx, query, args...)
	if err != nil {
		return nil, m.ledger.failed(ctx, "read the parts of "+claim.Job, err)
	}
	defer func() { _ = rows.Close() }()
	var told []int64
	for rows.Next() {
		var p record.PartState
		var imports, outcomes []byte
		if err = rows.Scan(&p.ID, &imports, &outcomes, &p.Failed, &p.Under); err == nil {
			err = errors.Join(json.Unmarshal(imports, &p.Imports), json.Unmarshal(outcomes, &p.Outcomes))
		}
		if err != nil {
			return nil, m.ledger.failed(ctx, "read the parts of "+claim.Job, err)
		}
		if !p.Under && (p.Failed || len(p.Imports) == 0) {
			told = append(told, p.ID)
		}
		all = append(all, p)
	}
	if err := rows.Err(); err != nil {
		return nil, m.ledger.failed(ctx, "read the parts of "+claim.Job, err)
	}
	m.told(claim, told...)
	return all, nil
}

// told notes of which parts the run of a claim has the outcomes.
func (m *Member) told(claim *record.Claim, parts ...int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.claims[claim.Token]; c != nil {
		c.told = append(c.told, parts...)
	}
}

// dropParts deletes the parts of which the run of a claim has the outcomes, and those that nobody has begun: what else there is, the next run finds.
func (m *Member) dropParts(claim *record.Claim) statement {
	m.mu.Lock()
	defer m.mu.Unlock()
	var told []int64
	if c := m.claims[claim.Token]; c != nil {
		told = c.told
	}
	return do("DELETE FROM {parts} WHERE run = ? AND (id {in numbers} OR member IS NULL AND outcomes = '[]')", claim.Token, array(told))
}

// list returns a JSON list of what is in JSON. PostgreSQL refuses zero bytes in texts.
func list(all []json.RawMessage) string {
	var b strings.Builder
	for i, one := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.Write(bytes.ReplaceAll(one, []byte(`\u0000`), []byte(`\ufffd`)))
	}
	return "[" + b.String() + "]"
}
