package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/record"
)

const (
	// renewals is how many renewals one lease has time for, and fence how much of a lease, in tenths, this process counts itself alive after the
	// last one: it stops before others begin.
	renewals = 4
	fence    = 8
	// sweepEvery is how often claims of the dead are looked for; lateSoon is after how long a job that is due goes before all others.
	sweepEvery = time.Second
	// sweepers is how many members take turns at that, at the most: then a member looks every so many seconds.
	sweepers = 3
	lateSoon = time.Hour
	// membersLast is how long the dead are remembered.
	membersLast = time.Hour
)

// errNoMember says that this process does not count as alive at the moment.
var errNoMember = errors.New("the ledger does not count this process as alive")

// errLapsed is errNoMember where the ledger was not asked.
var errLapsed = fmt.Errorf("%w: its lease has ended", errNoMember)

// MemberOptions configures a Member.
type MemberOptions struct {
	// Name is the name of this process among the others, Dray its version.
	Name, Dray string
	// Guest is set for a process that works on no jobs: it has no say in which there are.
	Guest bool
	// Lease is after how long of silence others take over.
	Lease time.Duration
	// Events are told what the member does; nil for none.
	Events Events
}

// Events are told what a [Member] does, from any goroutine. They must not block.
type Events interface {
	// Asked is told how long a request to the ledger took until it was answered, or failed. There are few different operations.
	Asked(op string, took time.Duration)
	// TookOver is told of a job or a part that another process had begun, and that this one has taken; kind is "job" or "part".
	TookOver(kind string)
	// Made is told of a part that this process has made; origin is "own" if the run is this process's, and else "other".
	Made(origin string)
	// Fenced is told that the member was given up.
	Fenced()
	// Waited is told of a wait for another process that does the same: the first word of a hold is its kind.
	Waited(kind string)
}

// unheard are the events of a member that tells nobody.
type unheard struct{}

func (unheard) Asked(string, time.Duration) {}
func (unheard) TookOver(string)             {}
func (unheard) Made(string)                 {}
func (unheard) Fenced()                     {}
func (unheard) Waited(string)               {}

// Member is a process that works on the jobs of a ledger, as long as it renews its lease. Who is silent for too long is given up: it stops what
// it was doing, and enters anew under another number. What was begun under a number ends with it.
type Member struct {
	ledger  *Ledger
	options MemberOptions

	// taking has room for who takes jobs or compares claims, so that none is missing that was just made.
	taking chan struct{}

	mu     sync.Mutex
	id     int64 // 0 while this process is no member
	until  time.Duration
	lost   chan struct{}
	claims map[int64]*claimed // by token
	held   map[string]bool    // the holds of this process
	force  inForce
	// ahead is how far the ledger's clock is ahead of this process's, and roundTrip is how long it took to ask; away is since when the ledger cannot be
	// reached, zero if it can.
	ahead, roundTrip time.Duration
	away             time.Time
	// alive counts the members that work on jobs.
	alive int
}

// inForce is the generation that decides, as the last renewal or offer has found it.
type inForce struct {
	number int64
	hash   string
}

// claimed is a claim of a job or, where part is set, of a part: of this process's run ("own") or of another's ("other").
type claimed struct {
	job, fingerprint string
	token            int64
	lost             chan struct{}
	part             string
	// told are the parts of the run of a job whose outcomes the run has.
	told []int64
}

// Enter makes this process a member of a ledger. It is one until [Member.Leave], as long as [Member.Keep] runs.
func (l *Ledger) Enter(ctx context.Context, options MemberOptions) (*Member, error) {
	if options.Events == nil {
		options.Events = unheard{}
	}
	m := &Member{ledger: l, options: options, taking: make(chan struct{}, 1)}
	if err := m.enter(ctx); err != nil {
		return nil, fmt.Errorf("enter the ledger %s: %w", l.path, err)
	}
	return m, nil
}

func (m *Member) enter(ctx context.Context) error {
	sent, id := boottime(), rand.Int64N(1<<62)+1
	const query = "INSERT INTO {members} (id, name, dray, guest, joined, expires, generation) VALUES (?, ?, ?, ?, ?, ?, '') ON CONFLICT (id) DO NOTHING"
	if _, err := m.ledger.transact(ctx, do(query, id, m.options.Name, m.options.Dray, m.options.Guest, now, moment(m.options.Lease))); err != nil {
		return err
	}
	if err := m.compareClocks(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id, m.until, m.lost, m.claims, m.held = id, m.fenced(sent), make(chan struct{}), map[int64]*claimed{}, map[string]bool{}
	return nil
}

// compareClocks finds out how far the ledger's clock is ahead, and how many members are alive. The old value of the clock changes no more than the answer
// demands: a new one may be wrong by half of the time that the answer took.
func (m *Member) compareClocks(ctx context.Context) error {
	sent, began := m.ledger.options.Now(), boottime()
	const query = "SELECT ?::bigint, (SELECT count(*) FROM {members} WHERE expires > ? AND NOT guest)"
	var there int64
	var alive int
	if err := m.ledger.queryRow(ctx, query, now, now).Scan(&there, &alive); err != nil {
		return err
	}
	took := m.ledger.options.Now().Sub(sent)
	most := timeOf(there).Sub(sent)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alive, m.roundTrip = alive, boottime()-began
	nearest := max(most-took, min(m.ahead, most+time.Millisecond)) // the ledger tells whole milliseconds
	if (nearest - m.ahead).Abs() > took+time.Millisecond {         // nothing was known, or a clock was set
		nearest = most - took/2
	}
	m.ahead = nearest
	return nil
}

// asks returns what tells how long a request took, when it is called.
func (m *Member) asks(op string) (answered func()) {
	began := boottime()
	return func() { m.options.Events.Asked(op, boottime()-began) }
}

// Now returns the present time by the ledger's clock, with the precision of the tables.
func (m *Member) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ledger.options.Now().Add(m.ahead).Truncate(time.Millisecond)
}

// Alive returns how many members there are that work on jobs, as this one has seen them when it last renewed its lease: at least one.
func (m *Member) Alive() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(1, m.alive)
}

// Ledger returns whether the ledger can be reached, and how long it last took to answer.
func (m *Member) Ledger() record.Ledger {
	m.mu.Lock()
	defer m.mu.Unlock()
	return record.Ledger{Kind: "postgresql", Reachable: m.away.IsZero(), Since: m.away, RoundTrip: m.roundTrip.Seconds()}
}

// noteAway notes whether the ledger could be reached.
func (m *Member) noteAway(reached bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case reached:
		m.away = time.Time{}
	case m.away.IsZero():
		m.away = m.ledger.options.Now()
	}
}

// fenced returns until when this process counts itself alive after a renewal that was sent at a time.
func (m *Member) fenced(sent time.Duration) time.Duration { return sent + m.options.Lease*fence/10 }

// alone waits until no one else takes jobs or compares claims, and returns the present number of this process.
func (m *Member) alone(ctx context.Context) (id int64, done func(), err error) {
	select {
	case m.taking <- struct{}{}:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	if id, err = m.number(); err != nil {
		<-m.taking
		return 0, nil, err
	}
	return id, func() { <-m.taking }, nil
}

// Lost is closed when this process is given up, and then all that it had begun is. The next one is open again once it has entered anew.
func (m *Member) Lost() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

// number returns the present number of this process.
func (m *Member) number() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id == 0 || boottime() >= m.until {
		return 0, errLapsed
	}
	return m.id, nil
}

// Keep renews the lease, gives up what is lost, and frees the claims of the dead, until ctx ends.
func (m *Member) Keep(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watching.Go(func() { m.watch(ctx) })
	pause := time.NewTicker(sweepEvery)
	defer pause.Stop()
	for turn := 0; ; turn++ {
		m.turn(ctx, turn)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}

// turn does what a second asks for.
func (m *Member) turn(outer context.Context, turn int) {
	ctx, cancel := context.WithTimeout(outer, m.options.Lease/2)
	defer cancel()
	_, err := m.number()
	every := max(1, int(m.options.Lease/renewals/sweepEvery))
	asked := true
	switch {
	case err != nil:
		m.giveUp(0)
		err = m.enter(ctx)
	case turn%every == 0 || !m.Ledger().Reachable: // a renewal that has failed is not put off
		if err = m.renew(ctx); err == nil {
			err = m.compareClocks(ctx)
		}
	default:
		asked = false
	}
	if err == nil && !m.options.Guest && turn%min(m.Alive(), sweepers) == 0 {
		asked, err = true, m.sweep(ctx)
	}
	if !asked || errors.Is(err, errLapsed) { // so that nothing new is known of the ledger
		return
	}
	_ = m.ledger.failed(ctx, "renew the lease", err) // it has logged the first of several
	if err == nil {
		m.ledger.works(ctx)
	}
	if outer.Err() == nil {
		m.noteAway(err == nil || errors.Is(err, errNoMember))
	}
}

// watch gives up when no renewal has come through for too long, also after a pause of the whole process.
func (m *Member) watch(ctx context.Context) {
	look := time.NewTicker(m.options.Lease / 100)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			m.giveUp(0)
		case <-ctx.Done():
			return
		}
	}
}

// giveUp ends what was begun under the present number if the lease has ended, or if it is that number, because the ledger did not confirm it in time: it
// counts as away until it answers. Who enters meanwhile has another number and another lease.
func (m *Member) giveUp(id int64) {
	m.mu.Lock()
	over := (m.id == id || boottime() >= m.until) && m.finish()
	if over && m.away.IsZero() {
		m.away = m.ledger.options.Now()
	}
	m.mu.Unlock()
	if over {
		m.options.Events.Fenced()
		m.ledger.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "fenced: the ledger was silent for too long, so others may take over")
	}
}

// end ends the membership in this process.
func (m *Member) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finish()
}

// finish is end for who holds mu; false if the membership is over already.
func (m *Member) finish() bool {
	if m.id == 0 {
		return false
	}
	m.id = 0
	close(m.lost)
	for token, c := range m.claims {
		close(c.lost)
		delete(m.claims, token)
	}
	return true
}

// renew renews the lease, and ends claims that are gone.
func (m *Member) renew(ctx context.Context) error {
	id, done, err := m.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	defer m.asks("renew")()
	sent := boottime()
	const query = "UPDATE {members} SET expires = ? WHERE id = ? AND expires > ? RETURNING " +
		"(SELECT coalesce(json_agg(token), '[]') FROM (SELECT token FROM {jobs} WHERE member = ? UNION ALL SELECT token FROM {parts} WHERE member = ?) t), (SELECT coalesce(max(number), 0) FROM {inforce}), (SELECT coalesce(max(hash), '') FROM {inforce})"
	var tokens []byte
	var force inForce
	err = m.ledger.queryRow(ctx, query, moment(m.options.Lease), id, now, id, id).Scan(&tokens, &force.number, &force.hash)
	if errors.Is(err, sql.ErrNoRows) {
		m.giveUp(id)
		return errNoMember
	}
	if err != nil {
		return err
	}
	var mine []int64
	if err := json.Unmarshal(tokens, &mine); err != nil {
		return err
	}
	return m.compare(ctx, id, sent, mine, force)
}

// compare ends the claims that the ledger does not have, and gives back those that only the ledger has: their answer was lost.
func (m *Member) compare(ctx context.Context, id int64, sent time.Duration, mine []int64, force inForce) error {
	m.mu.Lock()
	there := map[int64]bool{}
	var unknown []int64
	for _, token := range mine {
		there[token] = true
		if m.claims[token] == nil {
			unknown = append(unknown, token)
		}
	}
	for token, c := range m.claims {
		if !there[token] {
			close(c.lost)
			delete(m.claims, token)
		}
	}
	m.until, m.force = m.fenced(sent), force
	m.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	_, err := m.ledger.transact(ctx,
		do("UPDATE {parts} SET member = NULL WHERE id IN (SELECT id FROM {parts} WHERE member = ? AND token {in numbers} {unlocked})", id, array(unknown)),
		do(freeJobs+", begun = 0 WHERE id IN (SELECT id FROM {jobs} WHERE member = ? AND token {in numbers} {unlocked})", now, now, id, array(unknown)))
	return err
}

// dead is the condition that the member of a row of a table is not alive.
func dead(table string) string {
	return "NOT EXISTS (SELECT 1 FROM {members} m WHERE m.id = " + table + ".member AND m.expires > ?)"
}

// left finds the claims of a table that a condition selects, before they are locked: what is locked has to be the same claim still. It may not be, since
// others free claims too and those that are alive take them at once. PostgreSQL then looks at the row again, but not for its new member among the others:
// a condition such as dead would hold (https://www.postgresql.org/docs/15/transaction-iso.html#XACT-READ-COMMITTED).
func left(table, condition string) string {
	return "was AS MATERIALIZED (SELECT id AS entry, token AS claim FROM {" + table + "} WHERE member IS NOT NULL AND " + condition + ")"
}

// cutOff frees the claims that a condition selects, and records for each a run that was cut off, whose end no one has seen.
func cutOff(condition string, args ...any) statement {
	const why = "'the replica ' || gone.name || ' ended, or could not reach the ledger for too long, before the run did'"
	query := "WITH " + left("jobs", condition) + ", gone AS (SELECT id, coalesce((SELECT name FROM {members} m WHERE m.id = jobs.member), '') AS name " +
		"FROM {jobs} JOIN was ON was.entry = jobs.id AND was.claim = jobs.token WHERE member IS NOT NULL {unlocked}), " +
		"freed AS (" + freeJobs + " FROM gone WHERE jobs.id = gone.id RETURNING jobs.id, begun, begun_cause, " + why + " AS why) " +
		"INSERT INTO {runs} (" + runColumns + ", quiet, job) SELECT " + strings.Repeat("0, ", strings.Count(countColumns, ",")+1) +
		"begun, begun, why, ?, begun_cause, 0, 0, 0, ? + octet_length(why), false, id FROM freed"
	return do(query, append(args, now, now, record.RunCutOff, runSize)...)
}

// freeParts frees the parts that a condition selects, of those that have lost them.
func freeParts(condition string, args ...any) statement {
	return do("WITH "+left("parts", condition)+" UPDATE {parts} SET member = NULL, losses = losses + 1 WHERE id IN "+
		"(SELECT id FROM {parts} JOIN was ON was.entry = parts.id AND was.claim = parts.token WHERE member IS NOT NULL {unlocked})", args...)
}

// freeJobs frees the claims of jobs: they are due again, before all others. What an offer has planned meanwhile stays if it is a first run: another plan
// did not see the run that was cut off, as the job has changed there and back.
const freeJobs = "UPDATE {jobs} SET member = NULL, urgent = true, due_cause = CASE WHEN asked THEN '" + string(record.Asked) + "' WHEN " + cutShort +
	" THEN begun_cause ELSE due_cause END, due = CASE WHEN asked OR " + cutShort + " THEN ? ELSE due END, looks = looks || claimed, look_at = CASE WHEN claimed = '[]' THEN look_at ELSE ? END, " +
	"claimed = '[]'"

// cutShort is the condition that a run for all tags is to be made once more.
const cutShort = "claimed = '[]' AND (due = 0 OR due_cause <> '" + string(record.First) + "')"

// sweep frees the claims of the dead, and puts what has been due for long before all others.
func (m *Member) sweep(ctx context.Context) error {
	const late = "UPDATE {jobs} SET urgent = true WHERE id IN " +
		"(SELECT id FROM {jobs} WHERE member IS NULL AND NOT removed AND NOT urgent AND next > 0 AND next < ? {unlocked})"
	answered := m.asks("sweep")
	freed, err := m.ledger.dialect.write(ctx, []statement{
		m.endHolds(),
		do("DELETE FROM {members} WHERE id IN (SELECT id FROM {members} WHERE expires < ? {unlocked})", moment(-membersLast)),
		do(late, moment(-lateSoon)),
		freeParts(dead("parts"), now),
		cutOff(dead("jobs"), now),
	}, false)
	answered()
	if freed > 0 {
		m.ledger.options.Log.LogAttrs(ctx, slog.LevelWarn, "jobs of a process that is gone are free again")
	}
	return err
}

// Leave ends the membership: others go on at once with what this process has begun.
func (m *Member) Leave(ctx context.Context) error {
	id, done, err := m.alone(ctx)
	if errors.Is(err, errNoMember) {
		return nil
	}
	if err != nil {
		return err
	}
	defer done()
	_, err = m.ledger.dialect.write(ctx, []statement{
		do("UPDATE {parts} SET member = NULL WHERE member = ?", id),
		cutOff("member = ?", id),
		do("DELETE FROM {holds} WHERE member = ?", id),
		do("DELETE FROM {members} WHERE id = ?", id),
	}, false)
	m.end()
	return m.ledger.failed(ctx, "leave the ledger", err)
}
