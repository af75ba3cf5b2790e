package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/record"
)

const (
	// firstLook and lastLook are the pauses between looks whether a hold is free; each is twice the one before.
	firstLook = 100 * time.Millisecond
	lastLook  = 2 * time.Second
	// broughtLately is how long a blob is relied on in a repository in which no manifest is committed: registries collect it later.
	broughtLately = time.Hour
	// permitLasts is how much of the lease has to be left for a tag to be written.
	permitLasts = 2 * time.Second
	// tellWaits is how long an import waits until the ledger has heard what it need not wait for. A ledger that works answers sooner.
	tellWaits = time.Second
)

// takeHold takes a hold for a member that is alive a moment longer, unless another one that is alive has it. This process's own was left over.
const (
	takeHold = "INSERT INTO {holds} AS h (key, member, taken) SELECT ?, id, ? FROM {members} WHERE id = ? AND expires > ? "
	// Another's has to be a dead member's in the statement's snapshot, which need not have the member that has the hold by now: see left.
	unlessHeld = " ON CONFLICT (key) DO UPDATE SET member = excluded.member, taken = excluded.taken WHERE h.member = excluded.member OR EXISTS " +
		"(SELECT 1 FROM {holds} old WHERE old.key = h.key AND old.member = h.member AND NOT EXISTS (SELECT 1 FROM {members} m WHERE m.id = old.member AND m.expires > ?))"
	// claims is the condition that a member has a job, as the generation in force has it.
	claims = "EXISTS (SELECT 1 FROM {jobs} WHERE name = ? AND member = ? AND token = ? AND planned = ? AND NOT removed)"
	// claimsPart is the condition that a member has a part of such a job.
	claimsPart = "EXISTS (SELECT 1 FROM {parts} p JOIN {jobs} j ON j.name = p.job WHERE p.job = ? AND p.member = ? AND p.token = ? AND p.fingerprint = ? " +
		"AND j.planned = p.fingerprint AND NOT j.removed)"
)

// Hold waits until no other member does something, and gives this one the right to do it until done is called, or the membership ends. It calls
// waits before it waits for the first time. It waits for not much longer than a lease, since one that is alive may hang. An error says that others
// may be doing it, or that the ledger does not answer.
func (m *Member) Hold(ctx context.Context, what string, waits func()) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.Lease+lastLook)
	defer cancel()
	done, _, err = m.hold(ctx, what, 0, waits, func(ctx context.Context, id int64) (taken bool, err error) {
		changed, err := m.ledger.transact(ctx, do(takeHold+unlessHeld, what, now, id, now, now))
		return changed > 0, err
	})
	return done, err
}

// Permit waits until no other member writes a tag, and gives this one the right to do so for a job that it has claimed, or for the part that the context
// is for ([record.InPart]); waited is set if another
// had it. It waits as long as ctx lasts. The error is record.ErrLost if the job was taken over, or has changed. done, to be called after the
// write, asks for the job once more if it was lost meanwhile, since what was written may be old.
func (m *Member) Permit(ctx context.Context, job, tag string) (done func(), waited bool, err error) {
	claim := m.claimOf(ctx, job)
	if claim == nil {
		return nil, false, record.ErrLost
	}
	claims := claims
	if claim.part != "" {
		claims = claimsPart
	}
	mine := func(id int64) []any { return []any{job, id, claim.token, claim.fingerprint} }
	key := "tag " + tag
	free, waited, err := m.hold(ctx, key, m.options.Lease, func() {}, func(ctx context.Context, id int64) (bool, error) {
		args := append([]any{key, now, id, moment(permitLasts)}, mine(id)...)
		changed, err := m.ledger.transact(ctx, do(takeHold+"AND "+claims+unlessHeld, append(args, now)...))
		if changed > 0 || err != nil {
			return changed > 0, err
		}
		var still bool
		if err := m.ledger.queryRow(ctx, "SELECT "+claims, mine(id)...).Scan(&still); err != nil || still {
			return false, err
		}
		return false, record.ErrLost
	})
	if err != nil {
		return nil, waited, err
	}
	return func() {
		free()
		m.askIfLost(job, claim, tag)
	}, waited, nil
}

// Brought returns a repository, of the registry of another, that was lately confirmed to hold a blob; the other itself if possible. A manifest may
// not be committed there yet. It returns false if none is known.
func (m *Member) Brought(ctx context.Context, repo image.Repository, d image.Digest) (holder image.Repository, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.Lease/2)
	defer cancel()
	const query = "SELECT r.registry, r.path FROM {blobs} b JOIN {repositories} r ON r.id = b.repository WHERE b.digest = ? AND r.registry = ? AND b.used > ? " +
		"ORDER BY r.path = ? DESC, r.committed DESC, b.used DESC LIMIT 1"
	err = m.ledger.queryRow(ctx, query, string(d), repo.Registry, moment(-broughtLately), repo.Path).Scan(&holder.Registry, &holder.Path)
	if errors.Is(err, sql.ErrNoRows) {
		return image.Repository{}, false, nil
	}
	if err != nil {
		return image.Repository{}, false, m.ledger.failed(ctx, "read who has brought "+string(d), err)
	}
	return holder, checkRepository(holder) == nil, nil
}

// askIfLost asks for a job once more whose claim was lost while a tag was written.
func (m *Member) askIfLost(job string, claim *claimed, tag string) {
	_, over := m.number() // what watches that may not have looked since
	select {
	case <-claim.lost:
	default:
		if over == nil {
			return
		}
	}
	m.ledger.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "a tag was written while others took the job over; it runs once more",
		slog.String("job", job), slog.String("target", tag))
	m.tell(func(ctx context.Context) { _, _ = m.Ask(ctx, job) }) // the ledger has logged it
}

// tell has f say something to the ledger. It returns when f has, or after tellWaits: f then goes on beside, for half a lease at the most.
func (m *Member) tell(f func(ctx context.Context)) {
	told := make(chan struct{})
	go func() {
		defer close(told)
		ctx, cancel := context.WithTimeout(context.Background(), m.options.Lease/2)
		defer cancel()
		f(ctx)
	}()
	select {
	case <-told:
	case <-time.After(tellWaits):
	}
}

// claimOf returns the claim of a job, or of the part that a context is for, nil if this process has none.
func (m *Member) claimOf(ctx context.Context, job string) *claimed {
	m.mu.Lock()
	defer m.mu.Unlock()
	if token := record.PartOf(ctx); token != 0 {
		return m.claims[token]
	}
	for _, c := range m.claims {
		if c.job == job && c.part == "" {
			return c
		}
	}
	return nil
}

// hold takes a hold, in this process and in the ledger; waited is set if that took more than one look. A ledger that does not answer is looked at again
// for as long as patience. What the ledger has without this process's knowing of it, since the answer was lost, the next sweep ends.
func (m *Member) hold(ctx context.Context, key string, patience time.Duration, waits func(), take func(ctx context.Context, id int64) (taken bool, err error)) (done func(), waited bool, err error) {
	held := sync.OnceFunc(func() {
		kind, _, _ := strings.Cut(key, " ")
		m.options.Events.Waited(kind)
		waits()
	})
	for pause, answered := firstLook, boottime(); ; pause = min(2*pause, lastLook) {
		id, taken, err := m.look(ctx, key, take)
		switch {
		case taken:
			return func() { m.release(id, key) }, waited, nil
		case errors.Is(err, record.ErrLost) || errors.Is(err, errNoMember):
			return nil, waited, err
		case err == nil:
			answered = boottime()
			held()
		default:
			err = m.ledger.failed(ctx, "hold "+bounded(key), err)
			if boottime()-answered >= patience {
				return nil, waited, err
			}
		}
		waited = true
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, waited, fmt.Errorf("wait for another dray, at %s: %w", key, context.Cause(ctx))
		}
	}
}

// look takes a hold if it is free; id is the number of the process that then has it.
func (m *Member) look(ctx context.Context, key string, take func(ctx context.Context, id int64) (taken bool, err error)) (id int64, taken bool, err error) {
	id, err = m.reserve(key)
	if err != nil || id == 0 {
		return 0, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.options.Lease/2)
	defer cancel()
	answered := m.asks("hold")
	taken, err = take(ctx, id)
	answered()
	if !taken || err != nil {
		m.drop(id, key)
		return 0, false, err
	}
	return id, true, nil
}

// reserve takes a hold in this process. It returns the number of the process, or zero if the process has the hold already.
func (m *Member) reserve(key string) (id int64, err error) {
	if id, err = m.number(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held[key] {
		return 0, nil
	}
	m.held[key] = true
	return id, nil
}

// drop ends a hold in this process, unless it has another number since.
func (m *Member) drop(id int64, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id == id {
		delete(m.held, key)
	}
}

// release ends a hold. This process cannot take it again before the ledger has answered or half a lease is over. If the ledger does not answer, a
// later sweep ends the hold there.
func (m *Member) release(id int64, key string) {
	m.tell(func(ctx context.Context) {
		defer m.asks("release")()
		_, _ = m.ledger.transact(ctx, do("DELETE FROM {holds} WHERE key = ? AND member = ?", key, id))
		m.drop(id, key)
	})
}

// endHolds ends the holds of members that are gone, and those of this one that it would know by now.
func (m *Member) endHolds() statement {
	m.mu.Lock()
	defer m.mu.Unlock()
	return dropHolds(dead("holds")+" OR member = ? AND taken < ? AND NOT (key {in texts})", now, m.id, moment(-m.options.Lease/2), array(slices.Collect(maps.Keys(m.held))))
}

// dropHolds ends the holds that a condition selects, if they are still whose they were: see left.
func dropHolds(condition string, args ...any) statement {
	return do("WITH was AS MATERIALIZED (SELECT key AS hold, member AS holder, taken AS since FROM {holds} WHERE "+condition+") DELETE FROM {holds} WHERE key IN "+
		"(SELECT key FROM {holds} JOIN was ON was.hold = holds.key AND was.holder = holds.member AND was.since = holds.taken {unlocked})", args...)
}
