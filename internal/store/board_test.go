package store

import (
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
			{Name: "a", Dray: "test", Joined: d.Now(), Expires: d.Now().Add(lease), Me: m == a},
			{Name: "b", Dray: "test", Joined: d.Now(), Expires: d.Now().Add(lease), Me: m == b, InForce: true, Jobs: 1},
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

// TestLook: an event has a job run soon, or after its run, but no later than it would anyway, and no job that is gone.
func TestLook(t *testing.T) {
	d, members := crew(t, "a")
	m, ctx := members[0], t.Context()
	state := func() record.State { return states(t, m.ledger.Store)["job0"] }
	look := func() {
		t.Helper()
		must(t, m.Look(ctx, "job0", 2*time.Second))
	}
	offer(t, m, "one", plans(d, "f", 1))
	look()
	if s := state(); !s.Due.Equal(d.Now()) || s.Trigger != record.First || s.Asked {
		t.Error("a job that is due:", s)
	}
	claim := taken(t, m)
	look()
	if s := state(); !s.Due.IsZero() || !s.Asked {
		t.Error("during its run:", s)
	}
	must(t, endRun(d, m, claim))
	if s := state(); !s.Due.Equal(d.Now()) {
		t.Error("after its run:", s)
	}
	must(t, endRun(d, m, taken(t, m)))
	look()
	first := d.Now().Add(2 * time.Second)
	d.pass(time.Second)
	look()
	if s := state(); !s.Due.Equal(first) || s.Trigger != record.Event {
		t.Error("two events:", s)
	}
	d.pass(time.Second)
	claim = taken(t, m)
	if claim == nil || claim.State.Trigger != record.Event {
		t.Fatal(claim)
	}
	must(t, endRun(d, m, claim))
	must(t, m.Look(ctx, "other", time.Second))
	offer(t, m, "two", nil)
	look()
	if s := state(); s.Asked {
		t.Error("a job that is gone:", s)
	}
	d.pass(time.Minute)
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
	if away := m.Away(); !away.IsZero() {
		t.Error(away)
	}
	proxy.Down()
	since := c.Now()
	for range 2 {
		m.turn(t.Context(), 0)
		if away := m.Away(); !away.Equal(since) {
			t.Error(away, since)
		}
		c.pass(time.Minute)
	}
	proxy.Up()
	m.turn(t.Context(), 0)
	if away := m.Away(); !away.IsZero() {
		t.Error(away)
	}
	if all, err := m.Replicas(t.Context()); len(all) != 1 || err != nil {
		t.Error(all, err)
	}
}
