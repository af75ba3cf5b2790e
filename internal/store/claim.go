package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/draysync/dray/internal/record"
)

// claimColumns are in the order of Take: the state of a job before it was claimed.
const claimColumns = "fingerprint, anchor, started, ended, succeeded, failures, deferred, given, vain, due, due_cause, planned, asked, begun, begun_cause"

// take claims the first job that is due for a member that is alive and knows what is in force. What it returns of the job was there before.
const take = "WITH job AS (SELECT id, name, " + claimColumns + " FROM {jobs} WHERE member IS NULL AND NOT removed AND due > 0 AND due <= ? " +
	"AND NOT (registries {in texts}) AND NOT (name {in texts}) ORDER BY urgent DESC, priority DESC, due LIMIT 1 {unlocked}) " +
	"UPDATE {jobs} SET member = ?, token = nextval('dray.tokens'), begun = ?, begun_cause = job.due_cause, asked = false, due = 0, deferred = 0, urgent = false " +
	"FROM job WHERE jobs.id = job.id AND EXISTS (SELECT 1 FROM {members} WHERE id = ? AND expires > ?) " +
	"AND (SELECT coalesce(max(number), 0) FROM {inforce}) = ? RETURNING jobs.token, jobs.begun, job.*"

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
	var job, begun, anchor, started, ended, succeeded, deferred, given, due, before int64
	err = m.ledger.queryRow(ctx, take, now, array(full), array(but), id, now, id, now, force).Scan(&claim.Token, &begun, &job, &claim.Job,
		&s.Fingerprint, &anchor, &started, &ended, &succeeded, &s.Failures, &deferred, &given, &s.Vain, &due, &s.Trigger, &s.Planned, &s.Asked, &before, &s.BegunBy)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		next, err = m.next(ctx, but)
		return nil, next, err
	case err != nil:
		return nil, 0, m.ledger.failed(ctx, "take a job", err)
	}
	s.Anchor, s.Started, s.Ended, s.Succeeded = timeOf(anchor), timeOf(started), timeOf(ended), timeOf(succeeded)
	s.Deferred, s.Given, s.Due, s.Begun = timeOf(deferred), timeOf(given), timeOf(due), timeOf(before)
	claim.Fingerprint, claim.Begun = s.Planned, timeOf(begun)
	return claim, 0, m.hold(id, claim)
}

// hold has a claim end with the membership under which it was made.
func (m *Member) hold(id int64, claim *record.Claim) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id != id {
		return errNoMember
	}
	lost := make(chan struct{})
	m.claims[claim.Token], claim.Lost = &claimed{claim.Job, lost}, lost
	return nil
}

// next returns after how long a job is due that is free, negative for never.
func (m *Member) next(ctx context.Context, but []string) (time.Duration, error) {
	const query = "SELECT coalesce((SELECT min(due) FROM {jobs} WHERE member IS NULL AND NOT removed AND due > 0 AND NOT (name {in texts})) - ?, -1)"
	var milliseconds int64
	if err := m.ledger.queryRow(ctx, query, array(but), now).Scan(&milliseconds); err != nil {
		return 0, m.ledger.failed(ctx, "see when a job is due", err)
	}
	return time.Duration(milliseconds) * time.Millisecond, nil
}

// End records the run of a claim, the state of its job after it, and when it runs next, all or nothing. What others have changed meanwhile
// stays: what they ask for, and what is planned if the job has changed. The error is record.ErrLost for a claim that is lost.
func (m *Member) End(ctx context.Context, claim *record.Claim, run record.JobRun, state record.State) error {
	if err := checkJob(run.Job); err != nil {
		return fmt.Errorf("store: end a run: %w", err)
	}
	bound(&run)
	const query = "UPDATE {jobs} SET member = NULL, begun = 0, begun_cause = '', urgent = false, seen = ?, fingerprint = ?, started = ?, ended = ?, succeeded = ?, failures = ?, " +
		"given = ?, vain = ?, deferred = CASE WHEN planned = ? THEN ? ELSE deferred END, " +
		"due = CASE WHEN asked THEN ? WHEN planned = ? THEN ? ELSE due END, due_cause = CASE WHEN asked THEN ? WHEN planned = ? THEN ? ELSE due_cause END " +
		"WHERE name = ? AND member = ? AND token = ?"
	id, err := m.holder(claim)
	if err != nil {
		return err
	}
	planned := claim.Fingerprint
	end := do(query, now, record.Text(state.Fingerprint), milliseconds(state.Started), milliseconds(state.Ended), milliseconds(state.Succeeded), state.Failures,
		milliseconds(state.Given), state.Vain, planned, milliseconds(state.Deferred), now, planned, milliseconds(state.Due), record.Asked, planned, state.Trigger,
		claim.Job, id, claim.Token)
	return m.settle(ctx, claim, append(append([]statement{end}, putRun(&run)...), putActions(&run)...))
}

// GiveBack ends a claim as if its job had not been taken.
func (m *Member) GiveBack(ctx context.Context, claim *record.Claim) error {
	id, err := m.holder(claim)
	if err != nil {
		return err
	}
	const query = "UPDATE {jobs} SET member = NULL, begun = ?, begun_cause = ?, asked = asked OR ? AND NOT removed, " +
		"deferred = CASE WHEN planned = ? THEN ? ELSE deferred END, " +
		"due = CASE WHEN asked THEN ? WHEN planned = ? THEN ? ELSE due END, due_cause = CASE WHEN asked THEN ? WHEN planned = ? THEN ? ELSE due_cause END " +
		"WHERE name = ? AND member = ? AND token = ?"
	s, planned := claim.State, claim.Fingerprint
	return m.settle(ctx, claim, []statement{do(query, milliseconds(s.Begun), s.BegunBy, s.Asked, planned, milliseconds(s.Deferred), now, planned, milliseconds(s.Due), record.Asked, planned, s.Trigger,
		claim.Job, id, claim.Token)})
}

// holder returns the number under which a claim was made, if it is not lost.
func (m *Member) holder(claim *record.Claim) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claims[claim.Token] == nil {
		return 0, record.ErrLost
	}
	return m.id, nil
}

// settle executes what ends a claim, once.
func (m *Member) settle(ctx context.Context, claim *record.Claim, list []statement) error {
	changed, err := m.ledger.dialect.write(ctx, list, true)
	if err != nil {
		return m.ledger.failed(ctx, "end the claim of "+claim.Job, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.claims[claim.Token]
	delete(m.claims, claim.Token)
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
	const query = "UPDATE {jobs} SET asked = true, due = CASE WHEN member IS NULL THEN ? ELSE due END, " +
		"due_cause = CASE WHEN member IS NULL THEN ? ELSE due_cause END WHERE name = ? AND NOT removed"
	changed, err := m.ledger.transact(ctx, do(query, now, record.Asked, job))
	return changed > 0, m.ledger.failed(ctx, "ask for "+job, err)
}

// Look has a job run soon for what an event has told of, unless it runs sooner anyway.
func (m *Member) Look(ctx context.Context, job string, soon time.Duration) error {
	const query = "UPDATE {jobs} SET asked = true, due = CASE WHEN member IS NULL THEN ? ELSE due END, " +
		"due_cause = CASE WHEN member IS NULL THEN ? ELSE due_cause END WHERE name = ? AND NOT removed AND (member IS NOT NULL OR due = 0 OR due > ?)"
	_, err := m.ledger.transact(ctx, do(query, moment(soon), record.Event, job, moment(soon)))
	return m.ledger.failed(ctx, "note an event of "+job, err)
}
