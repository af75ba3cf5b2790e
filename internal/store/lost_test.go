package store

import (
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/postgrestest"
)

// TestConnectionsLost loses connections in the middle of writes: none of them is executed twice, and none is said to be done that is not.
func TestConnectionsLost(t *testing.T) {
	for name, fault := range map[string]postgrestest.Fault{
		"question": postgrestest.CutQuestion, "answer": postgrestest.CutAnswer, "silence": postgrestest.Swallow,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silence := patience
			if fault == postgrestest.Swallow {
				silence = 5 * time.Second
			}
			d := newStand(t)
			proxy := postgrestest.Proxied(t, postgrestest.Database(t))
			l, err := join(t.Context(), proxy.URL, d.options(), silence)
			must(t, err)
			defer l.Close()
			run, state := busyRun(d, "a", 3)
			proxy.Next("dray.outcomes", fault)
			must(t, l.KeepRun(t.Context(), run, state))
			if runs := history(t, l.Store, HistoryQuery{}); len(runs) != 1 || len(runs[0].Actions) != 3 {
				t.Error("not one run", runs)
			}
			must(t, putBudget(t.Context(), l.Store, "docker.io", []byte("1")))
			proxy.Next("INSERT INTO dray.budgets", fault)
			calls := 0
			must(t, l.Change(t.Context(), "docker.io", func(old []byte, _ time.Time) []byte { calls++; return append(old, 'x') }))
			if got := budgetOf(t, l.Store, "docker.io"); got != "1x" || calls != 1 {
				t.Errorf("%s after %d calls", got, calls)
			}
			proxy.Next("dray.blobs", fault)
			must(t, l.AddBlobs(t.Context(), repo("a"), digests(0, 10), true))
			if got := held(t, l.Store, repo("a"), digests(0, 20)...); got != 10 {
				t.Errorf("%d blobs", got)
			}
			if proxy.Done() != 3 || strings.Contains(d.log.String(), "cannot be used") {
				t.Error(proxy.Done(), d.log.String())
			}
		})
	}
}

// TestConnectionLostForGood: what nobody can know is said.
func TestConnectionLostForGood(t *testing.T) {
	d := newStand(t)
	proxy := postgrestest.Proxied(t, postgrestest.Database(t))
	l, err := Join(t.Context(), proxy.URL, d.options())
	must(t, err)
	defer l.Close()
	proxy.Next("INSERT INTO dray.budgets", postgrestest.CutAnswer)
	err = l.Change(t.Context(), "docker.io", func([]byte, time.Time) []byte { proxy.Refuse(); return []byte("one") })
	if err == nil || !strings.Contains(err.Error(), "not known whether it was written") {
		t.Error(err)
	}
}
