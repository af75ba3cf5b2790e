package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestLedger: a process that shares its work shows how it stands, and one that is alone shows no series about that.
func TestLedger(t *testing.T) {
	if n, err := testutil.GatherAndCount(New("1.2.3", "copy").registry, "dray_replicas", "dray_ledger_up", "dray_config_in_force", "dray_takeovers_total",
		"dray_fenced_total", "dray_holds_waited_total", "dray_parts_total", "dray_ledger_request_duration_seconds"); n != 0 || err != nil {
		t.Error("alone:", n, err)
	}
	m := New("1.2.3", "copy")
	m.Sharing(func() Sharing { return Sharing{Replicas: 3, Up: true} })
	l := m.Ledger()
	l.TookOver("job")
	l.Made("other")
	l.Fenced()
	l.Fenced()
	l.Waited("tag")
	l.Asked("take", 20*time.Millisecond)
	want := `# HELP dray_config_in_force Whether the config of this process is the one that decides: 1, or 0 where most have another.
# TYPE dray_config_in_force gauge
dray_config_in_force 0
# HELP dray_fenced_total How often this process has ended its runs since the ledger was silent for too long.
# TYPE dray_fenced_total counter
dray_fenced_total 2
# HELP dray_holds_waited_total How often this process has waited for another that was doing the same.
# TYPE dray_holds_waited_total counter
dray_holds_waited_total{kind="tag"} 1
# HELP dray_ledger_up Whether the ledger can be reached: 1, or 0.
# TYPE dray_ledger_up gauge
dray_ledger_up 1
# HELP dray_parts_total Parts of runs that this process has made: of its own runs, and of those of other processes.
# TYPE dray_parts_total counter
dray_parts_total{origin="other"} 1
dray_parts_total{origin="own"} 0
# HELP dray_replicas How many processes that share the work are alive, as the ledger last said.
# TYPE dray_replicas gauge
dray_replicas 3
# HELP dray_takeovers_total What this process has taken over from another that was gone.
# TYPE dray_takeovers_total counter
dray_takeovers_total{kind="job"} 1
dray_takeovers_total{kind="part"} 0
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "dray_replicas", "dray_ledger_up", "dray_config_in_force", "dray_takeovers_total",
		"dray_fenced_total", "dray_holds_waited_total", "dray_parts_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(l.requests); n != 1 {
		t.Errorf("%d series of requests", n)
	}
}
