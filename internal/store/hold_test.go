package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
)

// holdRows counts the holds in the ledger.
func holdRows(t *testing.T, m *Member) (n int) {
	t.Helper()
	must(t, m.ledger.queryRow(t.Context(), "SELECT count(*) FROM {holds}").Scan(&n))
	return n
}

// looks is for a hold that is not free: it is canceled once a member of a crew has looked three times whether it is.
func looks(t *testing.T, m *Member) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	heard(m).on("asked hold", 3, cancel)
	return ctx
}

// settles waits until the ledger has a number of holds, and members have one in their processes: who gives a hold back does not wait for that if the
// ledger is slow.
func settles(t *testing.T, rows, held int, members ...*Member) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		has := 0
		for _, m := range members {
			m.mu.Lock()
			has += len(m.held)
			m.mu.Unlock()
		}
		n := holdRows(t, members[0])
		if n == rows && has == held {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the ledger has %d holds and not %d, the members have %d and not %d", n, rows, has, held)
		}
	}
}

func quietly() {}

// TestHold: one member at a time has a hold, also within a process; that of a member that is gone is free, and so is one whose end the ledger
// has not heard, after the next renewal.
func TestHold(t *testing.T) {
	d, members := crew(t, "a", "b")
	a, b, ctx := members[0], members[1], t.Context()
	var mu sync.Mutex
	holders, most, n := 0, 0, 0
	var group sync.WaitGroup
	for _, m := range members {
		for range 2 {
			group.Go(func() {
				for range 2 {
					done, err := m.Hold(context.Background(), "x", quietly)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					holders++
					n++
					most = max(most, holders)
					mu.Unlock()
					other, err := m.Hold(context.Background(), "y "+m.options.Name+time.Now().String(), quietly)
					if err != nil {
						t.Error(err)
						return
					}
					other()
					mu.Lock()
					holders--
					mu.Unlock()
					done()
				}
			})
		}
	}
	group.Wait()
	if most != 1 || n != 8 {
		t.Errorf("%d at once, %d in all", most, n)
	}
	settles(t, 0, 0, a, b)

	_, err := a.Hold(ctx, "x", func() { t.Error("it waits for a hold that is free") })
	must(t, err)
	waits := 0
	if _, err := b.Hold(looks(t, b), "x", func() { waits++ }); !errors.Is(err, context.Canceled) || waits != 1 {
		t.Error("two have one hold, or it is not said once that one waits", err, waits)
	}
	d.pass(lease - time.Minute)
	must(t, b.renew(ctx))
	d.pass(2 * time.Minute)
	done, err := b.Hold(ctx, "x", quietly) // a is dead
	must(t, err)
	if _, err := a.Hold(looks(t, a), "z", quietly); err == nil {
		t.Error("a member that is gone has a hold")
	}
	a.end()
	must(t, a.enter(ctx))
	old, err := a.Hold(ctx, "w", quietly)
	must(t, err)
	must(t, b.renew(ctx))
	d.pass(lease - time.Minute)
	must(t, b.renew(ctx))
	d.pass(2 * time.Minute)
	must(t, b.sweep(ctx))
	if n := holdRows(t, b); n != 1 {
		t.Errorf("%d rows", n)
	}
	a.end()
	must(t, a.enter(ctx))
	again, err := a.Hold(ctx, "w", quietly)
	must(t, err)
	old() // of a number that is gone: it ends nothing
	if !a.held["w"] || holdRows(t, a) != 2 {
		t.Error(a.held, holdRows(t, a))
	}
	again()
	done()
	must(t, b.Leave(ctx))
	settles(t, 0, 0, a)
}

// TestHoldUnknown: a hold that the ledger has given, and of which its member has not heard, is free after half a lease, though the member is alive.
// One that the member has stays.
func TestHoldUnknown(t *testing.T) {
	d, members := crew(t, "a", "b")
	a, b, ctx := members[0], members[1], t.Context()
	_, err := a.Hold(ctx, "known", quietly)
	must(t, err)
	lost := context.Canceled
	_, _, err = a.hold(ctx, "unknown", 0, quietly, func(ctx context.Context, id int64) (bool, error) {
		_, err := a.ledger.transact(ctx, do(takeHold, "unknown", now, id, now))
		must(t, err)
		return false, lost
	})
	if !errors.Is(err, lost) || holdRows(t, a) != 2 {
		t.Fatal(err, holdRows(t, a))
	}
	d.pass(lease/2 - time.Minute)
	for _, m := range members {
		must(t, m.renew(ctx))
		must(t, m.sweep(ctx))
	}
	if _, err := b.Hold(looks(t, b), "unknown", quietly); err == nil {
		t.Error("what was just given may be known yet")
	}
	d.pass(2 * time.Minute)
	must(t, b.sweep(ctx)) // of others' it knows nothing
	if n := holdRows(t, a); n != 2 {
		t.Errorf("%d rows", n)
	}
	must(t, a.sweep(ctx))
	done, err := b.Hold(ctx, "unknown", quietly)
	must(t, err)
	done()
	if _, err := b.Hold(looks(t, b), "known", quietly); err == nil {
		t.Error("a hold that is long ended")
	}
}

// TestHoldHangs: a member that is alive and does not end what it does is waited for not much longer than a lease.
func TestHoldHangs(t *testing.T) {
	t.Parallel()
	l, err := Join(t.Context(), postgrestest.Database(t), Options{Now: time.Now})
	must(t, err)
	defer l.Close()
	var members []*Member
	for range 2 {
		m, err := l.Enter(t.Context(), MemberOptions{Name: "a", Lease: time.Minute})
		must(t, err)
		members = append(members, m)
	}
	_, err = members[0].Hold(t.Context(), "x", quietly)
	must(t, err)
	const lease = 6 * time.Second // a look lasts for half of it: one that was not answered ends the wait
	members[1].options.Lease = lease
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	_, err = members[1].Hold(ctx, "x", quietly)
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took < lease || ctx.Err() != nil {
		t.Error(err, took)
	}
}

// TestHoldWithoutLedger: a hold whose end the ledger has not heard is still that of its member; a hold without a ledger is an error, in time.
func TestHoldWithoutLedger(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.Proxied(t, postgrestest.Database(t))
	l, err := Join(t.Context(), proxy.URL, Options{Now: time.Now})
	must(t, err)
	defer l.Close()
	events := &told{count: map[string]int{}}
	m, err := l.Enter(t.Context(), MemberOptions{Name: "a", Lease: time.Minute, Events: events})
	must(t, err)
	done, err := m.Hold(t.Context(), "x", quietly)
	must(t, err)
	proxy.Down()
	done()
	for deadline := time.Now().Add(time.Minute); events.of("asked release") == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // it is told beside after a moment
	}
	if _, err := m.Hold(t.Context(), "y", quietly); err == nil {
		t.Error("a hold without a ledger")
	}
	proxy.Up()
	settles(t, 1, 0, m)
	again, err := m.Hold(t.Context(), "x", quietly) // its own
	must(t, err)
	again()
	settles(t, 0, 0, m)
}

// TestPermitWithoutLedger: who is to write a tag waits for a ledger that is away for a moment, until the membership ends, but not for one that goes on
// to fail.
func TestPermitWithoutLedger(t *testing.T) {
	t.Parallel()
	proxy := postgrestest.Proxied(t, postgrestest.Database(t))
	l, err := Join(t.Context(), proxy.URL, Options{Now: time.Now})
	must(t, err)
	defer l.Close()
	events := &told{count: map[string]int{}}
	m, err := l.Enter(t.Context(), MemberOptions{Name: "a", Lease: time.Hour, Events: events})
	must(t, err)
	offer(t, m, "one", []record.Plan{{Name: "job", Fingerprint: "f", State: record.State{Anchor: time.Now(), Due: time.Now(), Trigger: record.First}}})
	if taken(t, m) == nil {
		t.Fatal("no job")
	}
	proxy.Down()
	var waiting sync.WaitGroup
	waiting.Go(func() {
		done, waited, err := m.Permit(t.Context(), "job", "r:1")
		if !waited || err != nil {
			t.Errorf("a ledger that is away for a moment: %t, %v", waited, err)
			return
		}
		done()
	})
	for events.of("asked hold") < 2 && !t.Failed() {
		time.Sleep(time.Millisecond) // real connections
	}
	proxy.Up()
	waiting.Wait()
	if n := events.of("waited for tag"); n != 0 {
		t.Errorf("%d waits for another", n)
	}

	proxy.Down()
	m.mu.Lock()
	m.until = boottime() + 5*firstLook
	m.mu.Unlock()
	if _, _, err := m.Permit(t.Context(), "job", "r:1"); !errors.Is(err, errNoMember) {
		t.Error("after the end of the lease:", err)
	}
	m.options.Lease = firstLook
	m.mu.Lock()
	m.until = boottime() + time.Hour
	m.mu.Unlock()
	if _, _, err := m.Permit(t.Context(), "job", "r:1"); err == nil || errors.Is(err, record.ErrLost) || errors.Is(err, errNoMember) {
		t.Error("a ledger that goes on to fail:", err)
	}
}

// told counts the events of a member, and calls functions when there were enough.
type told struct {
	mu    sync.Mutex
	count map[string]int
	calls []call
}

type call struct {
	what  string
	count int
	f     func()
}

// heard are the events of a member of a crew.
func heard(m *Member) *told { return m.options.Events.(*told) }

func (e *told) add(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.count[what]++
	for _, c := range e.calls {
		if c.what == what && c.count == e.count[what] {
			go c.f()
		}
	}
}

// on has a function called at the n-th event of a kind from now on.
func (e *told) on(what string, n int, f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, call{what, e.count[what] + n, f})
}

func (e *told) of(what string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.count[what]
}

func (e *told) Asked(op string, _ time.Duration) { e.add("asked " + op) }
func (e *told) TookOver(kind string)             { e.add("took over " + kind) }
func (e *told) Made(origin string)               { e.add("made " + origin) }
func (e *told) Fenced()                          { e.add("fenced") }
func (e *told) Waited(kind string)               { e.add("waited for " + kind) }

// TestEvents: a member tells of its requests, of what it takes over, of its waits, and of its end.
func TestEvents(t *testing.T) {
	d, members := crew(t, "a", "b")
	a, b, ctx := members[0], members[1], t.Context()
	events := heard(b)
	for _, m := range members {
		offer(t, m, "one", plans(d, "f", 1))
	}
	taken(t, a)
	a.end() // as if it had died
	d.pass(lease / 2)
	must(t, b.renew(ctx))
	d.pass(lease/2 + time.Minute)
	must(t, b.sweep(ctx))
	claim := taken(t, b)
	if claim == nil {
		t.Fatal("nothing to take over")
	}
	must(t, a.enter(ctx))
	_, err := a.Hold(ctx, "manifest x", quietly)
	must(t, err)
	if _, err := b.Hold(looks(t, b), "manifest x", quietly); err == nil {
		t.Error("two have one hold")
	}
	done, err := b.Hold(ctx, "manifest y", quietly)
	must(t, err)
	done()
	must(t, endRun(d, b, claim))
	_, err = b.Jobs(ctx)
	must(t, err)
	b.giveUp(b.id)
	b.giveUp(b.id)
	for deadline := time.Now().Add(time.Minute); events.of("asked release") == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // a ledger that is slow is told beside
	}
	events.mu.Lock()
	defer events.mu.Unlock()
	for what, least := range map[string]int{
		"took over job": 1, "waited for manifest": 1, "fenced": 1, "asked offer": 1, "asked renew": 1, "asked sweep": 1, "asked take": 1, "asked hold": 2,
		"asked release": 1, "asked end": 1, "asked board": 1,
	} {
		if n := events.count[what]; n < least || n > 1 && !strings.HasPrefix(what, "asked") {
			t.Errorf("%s: %d times", what, n)
		}
	}
}

// TestBrought: what was brought within an hour is known at once to all, though no manifest is committed where it is; the repository itself comes first.
func TestBrought(t *testing.T) {
	d, members := crew(t, "a", "b")
	a, b, ctx := members[0], members[1], t.Context()
	brought := func(into string, n int) string {
		t.Helper()
		holder, ok, err := b.Brought(ctx, repo(into), digest(n))
		must(t, err)
		if !ok {
			return ""
		}
		return holder.Path
	}
	must(t, a.ledger.AddBlobs(ctx, repo("x"), digests(0, 1), false))
	d.pass(time.Minute)
	must(t, a.ledger.AddBlobs(ctx, repo("y"), digests(0, 1), false))
	if got := []string{brought("x", 0), brought("y", 0), brought("z", 0), brought("x", 1)}; !slices.Equal(got, []string{"x", "y", "y", ""}) {
		t.Errorf("%q", got)
	}
	if _, ok, err := b.Brought(ctx, image.Repository{Registry: "other.test", Path: "x"}, digest(0)); ok || err != nil {
		t.Error("at another registry", err)
	}
	d.pass(time.Hour - time.Second)
	if got := brought("x", 0); got != "y" {
		t.Errorf("long ago: %q", got)
	}
}

// TestGiveBackInSilence: who gives a hold back waits only briefly for a ledger that is silent, also if the job was lost and is asked for once more.
func TestGiveBackInSilence(t *testing.T) {
	t.Parallel()
	const lease = time.Minute
	for name, loses := range map[string]bool{"kept": false, "lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := postgrestest.Proxied(t, postgrestest.Database(t))
			l, err := Join(t.Context(), proxy.URL, Options{Now: time.Now})
			must(t, err)
			defer l.Close()
			m, err := l.Enter(t.Context(), MemberOptions{Name: "a", Lease: lease})
			must(t, err)
			due := record.State{Anchor: time.Now(), Due: time.Now(), Trigger: record.First}
			offer(t, m, "one", []record.Plan{{Name: "job", Fingerprint: "f", State: due}})
			if taken(t, m) == nil {
				t.Fatal("no job")
			}
			fetched, err := m.Hold(t.Context(), "manifest d", quietly)
			must(t, err)
			written, _, err := m.Permit(t.Context(), "job", "r:1")
			must(t, err)
			proxy.Silence()
			if loses {
				m.end()
			}
			began := time.Now()
			fetched()
			written()
			if took := time.Since(began); took > lease/4 {
				t.Errorf("the import waits for %s", took)
			}
			if proxy.Done() == 0 {
				t.Error("the ledger was not told")
			}
		})
	}
}

// TestPermit: who has lost a job, or whose job has changed, writes no tag for it, and what is written while the job is lost is written once more.
func TestPermit(t *testing.T) {
	d, members := crew(t, "a", "b")
	a, b, ctx := members[0], members[1], t.Context()
	for _, m := range members {
		offer(t, m, "one", plans(d, "f", 1))
	}
	if _, _, err := a.Permit(ctx, "job0", "r:1"); !errors.Is(err, record.ErrLost) {
		t.Error("a permit for a job that nobody has claimed", err)
	}
	claim := taken(t, a)
	done, waited, err := a.Permit(ctx, "job0", "r:1")
	if waited || err != nil {
		t.Fatal(waited, err)
	}
	if _, _, err := b.Permit(ctx, "job0", "r:1"); !errors.Is(err, record.ErrLost) {
		t.Error("a permit for a job of another", err)
	}
	ended := make(chan struct{})
	heard(a).on("waited for tag", 1, func() { done(); close(ended) })
	if free, waited, err := a.Permit(ctx, "job0", "r:1"); !waited || err != nil {
		t.Error(waited, err)
	} else {
		free()
		<-ended
	}
	must(t, endRun(d, a, claim))
	d.pass(time.Hour - lease)

	// The job is lost in the midst.
	for _, m := range members {
		m.end()
		must(t, m.enter(ctx))
		offer(t, m, "one", plans(d, "f", 1))
	}
	d.pass(lease / 2)
	must(t, b.renew(ctx))
	d.pass(lease / 4)
	must(t, a.renew(ctx))
	d.pass(lease / 4)
	must(t, b.renew(ctx))
	if found, err := a.Ask(ctx, "job0"); !found || err != nil {
		t.Fatal(found, err)
	}
	claim = taken(t, a)
	done, _, err = a.Permit(ctx, "job0", "r:1")
	must(t, err)
	d.pass(lease - time.Minute)
	must(t, b.renew(ctx))
	d.pass(2 * time.Minute)
	if _, _, err := a.Permit(looks(t, a), "job0", "r:2"); err == nil {
		t.Error("a permit after the lease", err)
	}
	must(t, b.sweep(ctx))
	again := taken(t, b)
	if again == nil || again.Job != claim.Job {
		t.Fatal(again)
	}
	a.end()
	if free, waited, err := b.Permit(ctx, "job0", "r:1"); waited || err != nil {
		t.Error("the tag of one that is gone", waited, err)
	} else {
		free()
	}
	must(t, endRun(d, b, again))
	done()
	for deadline := time.Now().Add(time.Minute); !states(t, b.ledger.Store)["job0"].Asked && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // a ledger that is slow is asked beside
	}
	if s := states(t, b.ledger.Store)["job0"]; !s.Asked || !s.Due.Equal(d.Now()) || strings.Count(d.log.String(), "it runs once more") != 1 {
		t.Errorf("%+v\n%s", s, d.log.String())
	}

	// The job changes.
	taken(t, b)
	changed := plans(d, "g", 1)
	offer(t, b, "two", changed)
	if _, _, err := b.Permit(ctx, "job0", "r:1"); !errors.Is(err, record.ErrLost) {
		t.Error("a permit for a job that has changed", err)
	}
}
