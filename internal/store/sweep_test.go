package store

import (
	"fmt"
	"testing"
	"time"
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

	const waits = " AND public.waits()"
	_, err = d.db.ExecContext(t.Context(), "CREATE FUNCTION public.waits() RETURNS BOOLEAN LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END'")
	must(t, err)
	conn, err := d.db.Conn(t.Context())
	must(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "SELECT pg_advisory_lock(1)")
	must(t, err)
	sweeps := []statement{cutOff(dead("jobs")+waits, now), freeParts(dead("parts")+waits, now), dropHolds(dead("holds")+waits, now)}
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
	began := time.Now()
	for waiting := 0; waiting < len(sweeps); {
		if time.Since(began) > time.Minute {
			t.Fatalf("%d of %d sweeps wait", waiting, len(sweeps))
		}
		must(t, conn.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").Scan(&waiting))
	}
	done, err := next.Hold(t.Context(), "x", func() {})
	must(t, err)
	defer done()
	must(t, next.sweep(t.Context()))
	again, part := taken(t, next), takePartOf(t, next)
	if again == nil || again.Job != lost.Job || part == nil {
		t.Fatal(again, part)
	}
	_, err = conn.ExecContext(t.Context(), "SELECT pg_advisory_unlock(1)")
	must(t, err)
	for range sweeps {
		if err := <-freed; err != nil {
			t.Error(err)
		}
	}
	must(t, endRun(d, next, again))
}
