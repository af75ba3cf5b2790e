package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
)

// TestSweepsAtOnce: a sweep that was slow frees nothing that another one has freed meanwhile, and that a member which is alive has taken since.
func TestSweepsAtOnce(t *testing.T) {
	d, members := crew(t, "owner", "gone", "next", "slow")
	owner, gone, next, slow := members[0], members[1], members[2], members[3]
	for _, m := range members {
		offer(t, m, "one", plans(d, "f", 2))
	}
	run := taken(t, owner)
	put(t, owner, run, 1)
	lost := taken(t, gone)
	takePartOf(t, gone)
	_, err := gone.Hold(t.Context(), "x", func() {})
	must(t, err)
	d.pass(lease - time.Minute)
	for _, m := range []*Member{owner, next, slow} {
		must(t, m.renew(t.Context()))
	}
	d.pass(2 * time.Minute)

	halted, goOn := d.halts(t)
	sweeps := []statement{cutOff(dead("jobs")+halts, now), freeParts(dead("parts")+halts, now), dropHolds(dead("holds")+halts, now)}
	freed := make(chan error)
	for _, s := range sweeps {
		go func() {
			n, err := slow.ledger.dialect.write(t.Context(), []statement{s}, false)
			if err == nil && n > 0 {
				err = fmt.Errorf("%d freed by %s", n, s.sql)
			}
			freed <- err
		}()
	}
	halted(len(sweeps))
	done, err := next.Hold(t.Context(), "x", func() {})
	must(t, err)
	defer done()
	must(t, next.sweep(t.Context()))
	again, part := taken(t, next), takePartOf(t, next)
	if again == nil || again.Job != lost.Job || part == nil {
		t.Fatal(again, part)
	}
	goOn()
	for range sweeps {
		if err := <-freed; err != nil {
			t.Error(err)
		}
	}
	must(t, endRun(d, next, again))
}

// TestHoldOfNewMember: a statement that is slow does not take a hold from a member that has entered since it began.
func TestHoldOfNewMember(t *testing.T) {
	d, members := crew(t, "slow", "gone")
	slow, gone := members[0], members[1]
	leaves, err := gone.Hold(t.Context(), "x", func() {})
	must(t, err)
	halted, goOn := d.halts(t)
	took := make(chan error, 1)
	go func() {
		n, err := slow.ledger.dialect.write(t.Context(), []statement{do(takeHold+halts+unlessHeld, "x", now, slow.id, now, now)}, false)
		if err == nil && n > 0 {
			err = errors.New("the hold was taken from a member that is alive")
		}
		took <- err
	}()
	halted(1)
	leaves()
	entered, err := (&Ledger{d.open(t)}).Enter(t.Context(), MemberOptions{Name: "entered", Dray: "test", Lease: lease})
	must(t, err)
	done, err := entered.Hold(t.Context(), "x", func() {})
	must(t, err)
	defer done()
	goOn()
	if err := <-took; err != nil {
		t.Error(err)
	}
}

// halts is a condition that holds once a test lets statements go on.
const halts = " AND public.halts()"

// halts has statements with the condition halt. It returns a function that waits until a number of them do, and one that lets them go on.
func (d *stand) halts(t *testing.T) (halted func(n int), goOn func()) {
	t.Helper()
	_, err := d.db.ExecContext(t.Context(), "CREATE FUNCTION public.halts() RETURNS BOOLEAN LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END'")
	must(t, err)
	conn, err := d.db.Conn(t.Context())
	must(t, err)
	t.Cleanup(func() {
		_, _ = conn.ExecContext(context.Background(), "SELECT pg_advisory_unlock_all()")
		_ = conn.Close()
	})
	_, err = conn.ExecContext(t.Context(), "SELECT pg_advisory_lock(1)")
	must(t, err)
	halted = func(n int) {
		t.Helper()
		began := time.Now()
		for waiting := 0; waiting < n; {
			if time.Since(began) > time.Minute {
				t.Fatalf("%d of %d statements halt", waiting, n)
			}
			must(t, conn.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").Scan(&waiting))
		}
	}
	return halted, func() {
		t.Helper()
		_, err := conn.ExecContext(t.Context(), "SELECT pg_advisory_unlock(1)")
		must(t, err)
	}
}

// TestSweepOfRenewed: a sweep that was slow does not count a member as dead that has renewed its lease since the sweep began. The clock is the server's.
func TestSweepOfRenewed(t *testing.T) {
	fulltest.Long(t)
	d, members := crew(t, "owner", "slow")
	owner, slow := members[0], members[1]
	for _, m := range members {
		offer(t, m, "one", plans(d, "f", 2))
	}
	taken(t, owner)
	_, err := d.db.ExecContext(t.Context(), ledgerVersion7+"; UPDATE dray.members SET expires = dray.now() + 3600000")
	must(t, err)
	halted, goOn := d.halts(t)
	freed := make(chan int64, 1)
	var ends int64
	must(t, d.db.QueryRowContext(t.Context(), "UPDATE dray.members SET expires = dray.now() + 10000 WHERE id = $1 RETURNING expires", owner.id).Scan(&ends))
	go func() {
		n, err := slow.ledger.dialect.write(t.Context(), []statement{cutOff("public.halts() AND "+dead("jobs"), now)}, false)
		if err != nil {
			t.Error(err)
		}
		freed <- n
	}()
	halted(1)
	var began int64
	must(t, d.db.QueryRowContext(t.Context(), "SELECT ceil(extract(epoch FROM query_start) * 1000)::bigint FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'").Scan(&began))
	if began >= ends {
		t.Skip("the sweep began too late")
	}
	_, err = d.db.ExecContext(t.Context(), "UPDATE dray.members SET expires = dray.now() + 3600000") // as a renewal does
	must(t, err)
	for passed := false; !passed; {
		must(t, d.db.QueryRowContext(t.Context(), "SELECT dray.now() > $1 FROM pg_sleep(0.1)", ends).Scan(&passed))
	}
	goOn()
	if n := <-freed; n > 0 {
		t.Errorf("%d jobs of a member that is alive were freed", n)
	}
}

// TestLedgerOfVersion6: a ledger of an earlier dray gets the clock of this one, keeps what it has, and can be used by the earlier one.
func TestLedgerOfVersion6(t *testing.T) {
	d, members := crew(t, "one")
	offer(t, members[0], "one", plans(d, "f", 2))
	_, err := d.db.ExecContext(t.Context(), "UPDATE dray.meta SET version = 6; CREATE OR REPLACE FUNCTION dray.now() RETURNS BIGINT LANGUAGE sql STABLE AS 'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint'")
	must(t, err)
	l, err := Join(t.Context(), d.ledger, d.options())
	must(t, err)
	defer l.Close()
	var version, readable, jobs int
	var clock string
	must(t, d.db.QueryRowContext(t.Context(), "SELECT version, readable_from, (SELECT count(*) FROM dray.jobs), (SELECT prosrc FROM pg_proc WHERE oid = 'dray.now'::regproc) FROM dray.meta").Scan(&version, &readable, &jobs, &clock))
	if version != len(ledgerSchema) || readable != 1 || jobs != 2 || !strings.Contains(clock, "statement_timestamp") {
		t.Errorf("version %d, readable from %d, %d jobs, %s", version, readable, jobs, clock)
	}
}
