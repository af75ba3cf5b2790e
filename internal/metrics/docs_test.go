package metrics

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/serve"
)

// TestDocumented has a row of examples/prometheus/README.md for each metric of dray, with its labels, and no row for another.
func TestDocumented(t *testing.T) {
	const file = "../../examples/prometheus/README.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := New("v1", "copy")
	m.Budgets(func() []record.Budget { return nil })
	m.Sharing(func() Sharing { return Sharing{} })
	m.Ledger()
	m.Served(func() serve.Stats { return serve.Stats{} })
	descs := make(chan *prometheus.Desc)
	go func() { m.registry.Describe(descs); close(descs) }()
	pattern := regexp.MustCompile(`^Desc\{fqName: "(dray_[^"]*)", help: ".*", constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)
	want := map[string]bool{}
	for desc := range descs {
		if d := pattern.FindStringSubmatch(desc.String()); d != nil {
			row := "| `" + d[1] + "` | " + strings.ReplaceAll(d[2], ",", ", ") + " | "
			if row = strings.ReplaceAll(row, "|  |", "| |"); !strings.Contains(string(text), "\n"+row) {
				t.Errorf("%s has no row\n%s", file, row)
			}
			want[d[1]] = true
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(dray_[^`]*)`").FindAllStringSubmatch(string(text), -1) {
		if !want[row[1]] {
			t.Errorf("%s has a row of %s, which there is not", file, row[1])
		}
	}
	if len(want) < 15 {
		t.Errorf("%d metrics", len(want))
	}
}
