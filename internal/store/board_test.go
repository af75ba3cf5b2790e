package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/draysync/dray/internal/postgrestest"
	"github.com/draysync/dray/internal/record"
)

// TestBoard: every member sees who runs what, and who is alive; neither guests nor the dead are shown, nor what they had begun.
func TestBoard(t *testing.T) {
	d, members := crew(t, "b", "a")
	b, a := members[0], members[1]
	_, err := a.ledger.Enter(t.Context(), MemberOptions{Name: "guest", Guest: true, Lease: lease})
	must(t, err)
	offer(t, b, "one", plans(d, "f", 3))
	offer(t, a, "two", plans(d, "g", 3))
	claim := taken(t, b)
	if part, err := b.TakeOwnPart(t.Context(), claim, put(t, b, claim, 2)); part == nil || err != nil {
		t.Fatal(part, err)
	}
	at := func(m *Member) (at []string) {
		jobs, err := m.Jobs(t.Context())
		must(t, err)
		for _, name := range []string{"job0", "job1", "job2"} {
			if j, ok := jobs[name]; !ok || j.State.Begun.IsZero() != (name != claim.Job) {
				t.Error(name, ok, j)
			}
			at = append(at, jobs[name].Replica)
		}
		return at
	}
	for _, m := range members {
		if got := at(m); !slices.Equal(got, []string{"", "", "b"}) {
			t.Error(got)
		}
		all, err := m.Replicas(t.Context())
		must(t, err)
		want := []record.Replica{
			{Name: "a", ID: fmt.Sprint(a.id), Dray: "test", Joined: d.Now(), Expires: d.Now().Add(lease), Generation: "two", Me: m == a},
			{Name: "b", ID: fmt.Sprint(b.id), Dray: "test", Joined: d.Now(), Expires: d.Now().Add(lease), Generation: "one", Me: m == b, InForce: true, Jobs: 1, Parts: 1},
		}
		if !slices.EqualFunc(all, want, func(x, y record.Replica) bool {
			same := x.Joined.Equal(y.Joined) && x.Expires.Equal(y.Expires)
			x.Joined, x.Expires, y.Joined, y.Expires = time.Time{}, time.Time{}, time.Time{}, time.Time{}
			return same && x == y
		}) {
			t.Errorf("%+v", all)
		}
	}
	d.pass(lease - time.Minute)
	must(t, a.renew(t.Context()))
	d.pass(2 * time.Minute)
	must(t, a.sweep(t.Context()))
	if got := at(a); !slices.Equal(got, []string{"", "", ""}) {
		t.Error("after a death:", got)
	}
	if all, err := a.Replicas(t.Context()); len(all) != 1 || all[0].Name != "a" || err != nil {
		t.Error("after a death:", all, err)
	}
	offer(t, a, "three", plans(d, "f", 1))
	if jobs, err := a.Jobs(t.Context()); len(jobs) != 1 || err != nil {
		t.Error(jobs, err)
	}
	if states, err := a.JobStates(t.Context()); len(states) != 3 || err != nil {
		t.Error("the states of jobs that are gone:", states, err)
	}
}

// TestLook: an event has a job look at tags soon, or after its run, and changes nothing of what is planned; and it is no job that is gone.
func TestLook(t *testing.T) {
	d, members := crew(t, "a", "b")
	m, ctx := members[0], t.Context()
	state := func() record.State { return states(t, m.ledger.Store)["job0"] }
	look := func(tags ...string) {
		t.Helper()
		must(t, m.Look(ctx, "job0", tags, 2*time.Second))
	}
	// some checks for which tags the job is taken.
	some := func(m *Member, again bool, tags ...string) *record.Claim {
		t.Helper()
		claim := taken(t, m)
		if claim == nil || !slices.Equal(claim.Some, tags) || claim.Again != again {
			t.Fatalf("%+v", claim)
		}
		return claim
	}
	for _, m := range members {
		offer(t, m, "one", plans(d, "f", 1))
	}
	look("r:1")
	claim := some(m, false)
	if !slices.Equal(claim.State.Looks, []string{"r:1"}) || claim.State.Trigger != record.First {
		t.Errorf("%+v", claim.State)
	}
	look("r:3", "r:2")
	d.pass(lease / 2)
	for _, m := range members {
		must(t, m.renew(ctx))
	}
	must(t, endRun(d, m, claim))
	planned := state()
	claim = some(m, false, "r:2", "r:3") // nothing more of r:1, at which the run has looked
	if s := state(); !s.Due.Equal(planned.Due) || s.BegunBy != record.Event || !s.Begun.Equal(d.Now()) {
		t.Errorf("%+v", s)
	}
	look("r:2", "r:9")
	must(t, m.GiveBack(ctx, claim))
	claim = some(m, false, "r:2", "r:3", "r:9")
	if !claim.State.LookAt.Equal(d.Now().Add(2*time.Second - lease/2)) {
		t.Error(claim.State.LookAt)
	}

	// What the run leaves undone, and is looked at again later.
	run, after := busyRun(d, "job0", 2)
	after.Again, after.AgainAt, after.Tried, after.Due, after.Trigger = []string{"r:3"}, d.Now().Add(5*time.Second), 1, planned.Due, planned.Trigger
	must(t, m.End(ctx, claim, run, after))
	if claim, next, err := m.Take(ctx, nil, nil); claim != nil || next != 5*time.Second || err != nil {
		t.Fatal(claim, next, err)
	}
	look("r:1")
	d.pass(2 * time.Second)
	claim = some(m, false, "r:1")
	if s := claim.State; !slices.Equal(s.Again, []string{"r:3"}) || !s.AgainAt.Equal(d.Now().Add(3*time.Second)) || s.Tried != 1 {
		t.Errorf("%+v", s)
	}
	after.Again, after.AgainAt = claim.State.Again, claim.State.AgainAt
	must(t, m.End(ctx, claim, run, after))
	look("r:1", "r:4")
	d.pass(3 * time.Second)
	lost := some(m, true, "r:1", "r:3", "r:4")

	// A run that was taken over looks at what it was for, and at what came meanwhile.
	look("r:5")
	must(t, members[1].renew(ctx))
	m.end()
	must(t, members[1].sweep(ctx))
	d.pass(lease + time.Minute)
	must(t, members[1].enter(ctx))
	offer(t, members[1], "one", plans(d, "f", 1))
	must(t, members[1].sweep(ctx))
	if err := endRun(d, m, lost); !errors.Is(err, record.ErrLost) {
		t.Error(err)
	}
	m = members[1]
	claim = some(m, false, "r:1", "r:3", "r:4", "r:5")
	if claim.State.Begun.IsZero() {
		t.Error("it was not taken over")
	}

	// Too many.
	for n := range record.MaxLooks/100 + 1 {
		var tags []string
		for i := range 100 {
			tags = append(tags, fmt.Sprint("r:", n*100+i))
		}
		look(tags...)
	}
	must(t, m.GiveBack(ctx, claim))
	claim = some(m, false)
	if claim.State.Trigger != record.Asked {
		t.Errorf("%+v", claim.State)
	}
	must(t, endRun(d, m, claim))

	must(t, m.Look(ctx, "other", []string{"r:1"}, time.Second))
	look()
	offer(t, m, "two", nil)
	look("r:1")
	d.pass(10 * time.Minute)
	if claim := taken(t, m); claim != nil {
		t.Error("a job that is gone:", claim)
	}
}

// TestNow: times are by the ledger's clock, also after one of the clocks was set.
func TestNow(t *testing.T) {
	d, members := crew(t, "a")
	m := members[0]
	for _, by := range []time.Duration{0, time.Hour, -3 * time.Hour} {
		there := d.Now()
		d.clock.pass(by) // this process's alone
		must(t, m.compareClocks(t.Context()))
		if now := m.Now(); !now.Equal(there) {
			t.Errorf("a clock that goes %s ahead: %s, where the ledger has %s", by, now, there)
		}
		d.pass(0)
	}
}

// TestNowAfterSlowAnswer: a comparison of the clocks that took long does not make the time wrong.
func TestNowAfterSlowAnswer(t *testing.T) {
	proxy := postgrestest.Proxied(t, postgrestest.Database(t))
	d := newStand(t)
	d.ledger = proxy.URL
	m, err := (&Ledger{d.open(t)}).Enter(t.Context(), MemberOptions{Name: "a", Lease: lease})
	must(t, err)
	for name, answer := range map[string]bool{"question": false, "answer": true} {
		d.clock.pass(700 * time.Microsecond) // the ledger tells whole milliseconds
		must(t, m.compareClocks(t.Context()))
		proxy.Hold(answer, func() { d.pass(10*time.Second + 300*time.Microsecond) }, "count(*) FROM dray.members")
		before := d.Now()
		must(t, m.compareClocks(t.Context()))
		if now := m.Now(); now.Equal(before) || !now.Equal(d.Now()) {
			t.Errorf("after a slow %s it is %s, where the ledger has %s", name, now, d.Now())
		}
	}
}

// TestAlive: a member counts those that are alive and work on jobs, when it renews its lease.
func TestAlive(t *testing.T) {
	d, members := crew(t, "a", "b")
	a, b, ctx := members[0], members[1], t.Context()
	_, err := a.ledger.Enter(ctx, MemberOptions{Name: "guest", Guest: true, Lease: lease})
	must(t, err)
	if a.Alive() != 1 || b.Alive() != 2 {
		t.Error(a.Alive(), b.Alive())
	}
	must(t, a.compareClocks(ctx))
	if a.Alive() != 2 {
		t.Error(a.Alive())
	}
	d.pass(lease - time.Minute)
	must(t, b.renew(ctx))
	d.pass(2 * time.Minute)
	must(t, b.compareClocks(ctx))
	if b.Alive() != 1 {
		t.Error("one that is dead counts", b.Alive())
	}
	d.pass(lease)
	must(t, b.compareClocks(ctx))
	if b.Alive() != 1 {
		t.Error("it does not count itself", b.Alive())
	}
}

// TestAway: since when the ledger cannot be reached is known, until it can be again.
func TestAway(t *testing.T) {
	proxy := postgrestest.Proxied(t, postgrestest.Database(t))
	c := newClock()
	l, err := Join(t.Context(), proxy.URL, Options{Now: c.Now})
	must(t, err)
	defer l.Close()
	m, err := l.Enter(t.Context(), MemberOptions{Name: "a", Lease: 10 * time.Minute})
	must(t, err)
	m.turn(t.Context(), 0)
	if away := m.Ledger().Since; !away.IsZero() || !m.Ledger().Reachable {
		t.Error(away)
	}
	proxy.Down()
	since := c.Now()
	for range 2 {
		m.turn(t.Context(), 0)
		if away := m.Ledger().Since; !away.Equal(since) || m.Ledger().Reachable {
			t.Error(away, since)
		}
		c.pass(time.Minute)
	}
	proxy.Up()
	m.turn(t.Context(), 0)
	if away := m.Ledger().Since; !away.IsZero() || !m.Ledger().Reachable {
		t.Error(away)
	}
	if all, err := m.Replicas(t.Context()); len(all) != 1 || err != nil {
		t.Error(all, err)
	}
}
