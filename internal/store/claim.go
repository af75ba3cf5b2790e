package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/draysync/dray/internal/record"
)

// claimColumns are in the order of Take: the state of a job before it was claimed.
const claimColumns = "fingerprint, anchor, started, ended, succeeded, failures, deferred, given, vain, due, due_cause, planned, asked, anyway, begun, begun_cause, " +
	"looks, look_at, again, again_at, tried"

// unpaused are jobs that no pause keeps from running.
const unpaused = "(anyway OR name NOT IN (SELECT name FROM {pauses}) AND NOT EXISTS (SELECT 1 FROM {pauses} WHERE name = ''))"

// take claims the first job that is due for a member that is alive and knows what is in force. What it returns of the job was there before. A
// run for all tags leaves nothing planned; one for some leaves what is planned, and tags whose next try is later.
const take = "WITH job AS (SELECT id, name, " + claimColumns + ", due BETWEEN 1 AND ? AS whole, again_at BETWEEN 1 AND ? AS retry " +
	"FROM {jobs} WHERE member IS NULL AND NOT removed AND next > 0 AND next <= ? " +
	"AND NOT (registries {in texts}) AND NOT (name {in texts}) AND " + unpaused + " ORDER BY urgent DESC, priority DESC, next LIMIT 1 {unlocked}) " +
	"UPDATE {jobs} SET member = ?, token = nextval('dray.tokens'), begun = ?, begun_cause = CASE WHEN whole THEN job.due_cause ELSE ? END, urgent = false, " +
	"asked = job.asked AND NOT whole, anyway = job.anyway AND NOT whole, due = CASE WHEN whole THEN 0 ELSE job.due END, deferred = CASE WHEN whole THEN 0 ELSE job.deferred END, " +
	"claimed = CASE WHEN whole THEN '[]' WHEN retry THEN job.looks || job.again ELSE job.looks END, looks = '[]', look_at = 0, " +
	"again = CASE WHEN whole OR retry THEN '[]' ELSE job.again END, again_at = CASE WHEN whole OR retry THEN 0 ELSE job.again_at END, " +
	"tried = CASE WHEN whole THEN 0 ELSE job.tried END " +
	"FROM job WHERE jobs.id = job.id AND EXISTS (SELECT 1 FROM {members} WHERE id = ? AND expires > ?) " +
	"AND (SELECT coalesce(max(number), 0) FROM {inforce}) = ? RETURNING jobs.token, jobs.begun, job.*, whole AND EXISTS (SELECT 1 FROM {parts} p WHERE p.job = job.name)"

// Take claims the first job that is due, of those between registries that are not full; but are the names of jobs that this process has
// otherwise than the generation in force. If there is none it returns nil, and after how long the next one is due, negative for never. A job
// whose state says that a run has begun was taken over from a process that is gone.
func (m *Member) Take(ctx context.Context, full, but []string) (claim *record.Claim, next time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.Lease/2)
	defer cancel()
	id, done, err := m.alone(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	m.mu.Lock()
	force := m.force.number
	m.mu.Unlock()
	claim = &record.Claim{}
	s := &claim.State
	var job, begun, anchor, started, ended, succeeded, deferred, given, due, before, lookAt, againAt int64
	var looks, again string
	var whole, retry bool
	answered := m.asks("take")
	err = m.ledger.queryRow(ctx, take, now, now, now, array(full), array(but), id, now, record.Event, id, now, force).Scan(&claim.Token, &begun, &job, &claim.Job,
		&s.Fingerprint, &anchor, &started, &ended, &succeeded, &s.Failures, &deferred, &given, &s.Vain, &due, &s.Trigger, &s.Planned, &s.Asked, &s.Anyway, &before, &s.BegunBy,
		&looks, &lookAt, &again, &againAt, &s.Tried, &whole, &retry, &claim.Parts)
	answered()
	switch {
	case errors.Is(err, sql.ErrNoRows):
		next, err = m.next(ctx, but)
		return nil, next, err
	case err != nil:
		return nil, 0, m.ledger.failed(ctx, "take a job", err)
	}
	s.Anchor, s.Started, s.Ended, s.Succeeded = timeOf(anchor), timeOf(started), timeOf(ended), timeOf(succeeded)
	s.Deferred, s.Given, s.Due, s.Begun = timeOf(deferred), timeOf(given), timeOf(due), timeOf(before)
	s.Looks, s.LookAt, s.Again, s.AgainAt = texts(looks), timeOf(lookAt), texts(again), timeOf(againAt)
	claim.Fingerprint, claim.Begun = s.Planned, timeOf(begun)
	if !whole {
		claim.Some = s.Looks
		if claim.Again = retry; retry {
			claim.Some = sorted(slices.Concat(s.Looks, s.Again))
		}
	}
	if claim.Lost, err = m.note(id, &claimed{job: claim.Job, fingerprint: claim.Fingerprint, token: claim.Token}); err != nil {
		return claim, 0, err
	}
	if !s.Begun.IsZero() {
		m.options.Events.TookOver("job")
	}
	return claim, 0, nil
}

// texts decodes a column of texts, which may have each of them several times.
func texts(list string) (all []string) {
	_ = json.Unmarshal([]byte(list), &all) // only this file writes them
	return sorted(all)
}

func sorted(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}

// note has a claim end with the membership under which it was made.
func (m *Member) note(id int64, claim *claimed) (lost <-chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id != id {
		return nil, errNoMember
	}
	claim.lost = make(chan struct{})
	m.claims[claim.token] = claim
	return claim.lost, nil
}

// next returns after how long a job is due that is free, negative for never.
func (m *Member) next(ctx context.Context, but []string) (time.Duration, error) {
	const query = "SELECT coalesce((SELECT min(next) FROM {jobs} WHERE member IS NULL AND NOT removed AND next > 0 AND NOT (name {in texts}) AND " + unpaused + ") - ?, -1)"
	var milliseconds int64
	if err := m.ledger.queryRow(ctx, query, array(but), now).Scan(&milliseconds); err != nil {
		return 0, m.ledger.failed(ctx, "see when a job is due", err)
	}
	return time.Duration(milliseconds) * time.Millisecond, nil
}

// End records the run of a claim, the state of its job after it, and when it runs next, all or nothing. What others have changed meanwhile
// stays: what they ask for, and what is planned if the job has changed. It then runs as it is now, also where it has changed back meanwhile, so that its
// offer did not see this run. The error is record.ErrLost for a claim that is lost.
func (m *Member) End(ctx context.Context, claim *record.Claim, run record.JobRun, state record.State) error {
	if err := checkJob(run.Job); err != nil {
		return fmt.Errorf("store: end a run: %w", err)
	}
	bound(&run)
	const query = "UPDATE {jobs} SET member = NULL, begun = 0, begun_cause = '', urgent = false, seen = ?, fingerprint = ?, started = ?, ended = ?, succeeded = ?, failures = ?, " +
		"given = ?, vain = ?, claimed = '[]', again = ?, again_at = ?, tried = ?, deferred = ?, " +
		"due = CASE WHEN asked THEN ? WHEN planned = ? THEN ? WHEN due = 0 OR due_cause <> ? THEN ? ELSE due END, " +
		"due_cause = CASE WHEN asked THEN ? WHEN planned = ? THEN ? ELSE ? END WHERE name = ? AND member = ? AND token = ?"
	id, err := m.holder(claim.Token)
	if err != nil {
		return err
	}
	planned, againAt := claim.Fingerprint, int64(0)
	if len(state.Again) > 0 {
		againAt = milliseconds(state.AgainAt.Add(time.Millisecond - 1)) // not sooner
	}
	end := do(query, now, record.Text(state.Fingerprint), milliseconds(state.Started), milliseconds(state.Ended), milliseconds(state.Succeeded), state.Failures,
		milliseconds(state.Given), state.Vain, array(state.Again), againAt, state.Tried, milliseconds(state.Deferred), now, planned, milliseconds(state.Due), record.First, now,
		record.Asked, planned, state.Trigger, record.First, claim.Job, id, claim.Token)
	return m.settle(ctx, claim.Token, claim.Job, slices.Concat([]statement{end}, putRun(&run), putActions(&run), []statement{m.dropParts(claim)}))
}

// GiveBack ends a claim as if its job had not been taken.
func (m *Member) GiveBack(ctx context.Context, claim *record.Claim) error {
	id, err := m.holder(claim.Token)
	if err != nil {
		return err
	}
	const query = "UPDATE {jobs} SET member = NULL, begun = ?, begun_cause = ?, asked = asked OR ? AND NOT removed, anyway = anyway OR ? AND NOT removed, claimed = '[]', " +
		"looks = looks || ?::jsonb, look_at = coalesce(least(nullif(look_at, 0), nullif(?::bigint, 0)), 0), again = ?, again_at = ?, tried = ?, " +
		"deferred = ?, due = CASE WHEN asked THEN ? WHEN planned = ? THEN ? ELSE due END, due_cause = CASE WHEN asked THEN ? WHEN planned = ? THEN ? ELSE due_cause END " +
		"WHERE name = ? AND member = ? AND token = ?"
	s, planned := claim.State, claim.Fingerprint
	return m.settle(ctx, claim.Token, claim.Job, []statement{do(query, milliseconds(s.Begun), s.BegunBy, s.Asked, s.Anyway,
		array(s.Looks), milliseconds(s.LookAt), array(s.Again), milliseconds(s.AgainAt), s.Tried, milliseconds(s.Deferred), now, planned, milliseconds(s.Due), record.Asked, planned, s.Trigger,
		claim.Job, id, claim.Token)})
}

// holder returns the number under which a claim was made, if it is not lost.
func (m *Member) holder(token int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claims[token] == nil {
		return 0, record.ErrLost
	}
	return m.id, nil
}

// settle executes what ends a claim, once.
func (m *Member) settle(ctx context.Context, token int64, job string, list []statement) error {
	answered := m.asks("end")
	changed, err := m.ledger.dialect.write(ctx, list, true)
	answered()
	if err != nil {
		return m.ledger.failed(ctx, "end the claim of "+job, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.claims[token]
	delete(m.claims, token)
	if changed == 0 {
		if c != nil {
			close(c.lost)
		}
		return record.ErrLost
	}
	m.ledger.works(ctx)
	return nil
}

// Ask has a job run now, or right after its current run. It returns false if there is no such job.
func (m *Member) Ask(ctx context.Context, job string) (found bool, err error) {
	const query = "UPDATE {jobs} SET asked = true, anyway = true, due = CASE WHEN member IS NULL THEN ? ELSE due END, " +
		"due_cause = CASE WHEN member IS NULL THEN ? ELSE due_cause END WHERE name = ? AND NOT removed"
	changed, err := m.ledger.transact(ctx, do(query, now, record.Asked, job))
	return changed > 0, m.ledger.failed(ctx, "ask for "+job, err)
}

// Look has a job look at tags soon, or after its current run; at all tags if there are more than record.MaxLooks to look at.
func (m *Member) Look(ctx context.Context, job string, tags []string, soon time.Duration) error {
	const note = "UPDATE {jobs} SET looks = (SELECT jsonb_agg(DISTINCT tag) FROM jsonb_array_elements(looks || ?::jsonb) AS tag), " +
		"look_at = least(?, CASE WHEN look_at > 0 THEN look_at END) WHERE name = ? AND NOT removed"
	const all = "UPDATE {jobs} SET looks = '[]', look_at = 0, again = '[]', again_at = 0, tried = 0, asked = true, " +
		"due = CASE WHEN member IS NULL THEN ? ELSE due END, due_cause = CASE WHEN member IS NULL THEN ? ELSE due_cause END " +
		"WHERE name = ? AND jsonb_array_length(looks) + jsonb_array_length(again) > ?"
	if len(tags) == 0 {
		return nil
	}
	_, err := m.ledger.transact(ctx, do(note, array(tags), moment(soon), job), do(all, now, record.Asked, job, record.MaxLooks))
	return m.ledger.failed(ctx, "note an event of "+job, err)
}
