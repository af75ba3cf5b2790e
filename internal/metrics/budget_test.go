package metrics

import (
	"strings"
	"testing"

	"github.com/draysync/dray/internal/record"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestBudgets(t *testing.T) {
	m := New("1.2.3", "copy")
	m.Budgets(func() []record.Budget {
		return []record.Budget{{Registry: "docker.io", Account: "docker.io/acme", Limit: 100, Remaining: 40, Reserved: 2}}
	})
	m.Pulled("docker.io", "docker.io/acme")
	m.Pulled("docker.io", "docker.io/acme")
	m.Saved("cache")
	want := `# HELP dray_budget_limit How many manifests the registry lets the account fetch in a window.
# TYPE dray_budget_limit gauge
dray_budget_limit{account="docker.io/acme",registry="docker.io"} 100
# HELP dray_budget_remaining How many of them are left.
# TYPE dray_budget_remaining gauge
dray_budget_remaining{account="docker.io/acme",registry="docker.io"} 40
# HELP dray_budget_reserved How many of them are being fetched.
# TYPE dray_budget_reserved gauge
dray_budget_reserved{account="docker.io/acme",registry="docker.io"} 2
# HELP dray_pulls_total Manifests that were fetched from registries that count them.
# TYPE dray_pulls_total counter
dray_pulls_total{account="docker.io/acme",registry="docker.io"} 2
# HELP dray_pulls_saved_total Manifests of registries that count them which were at hand and so were not fetched.
# TYPE dray_pulls_saved_total counter
dray_pulls_saved_total{by="cache"} 1
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "dray_budget_limit", "dray_budget_remaining", "dray_budget_reserved", "dray_pulls_total", "dray_pulls_saved_total"); err != nil {
		t.Error(err)
	}
}
