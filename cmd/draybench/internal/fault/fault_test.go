package fault

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
	"github.com/draysync/dray/internal/fulltest"
)

// TestDrayHoldsUp runs dray under every fault: it has to converge wherever that is possible, to name side and cause where
// it is not, and never to tag what is not whole. The rows in which it waits for a silent registry are left out unless everything is tested.
func TestDrayHoldsUp(t *testing.T) {
	if testing.Short() {
		t.Skip("runs dray under every fault")
	}
	t.Parallel()
	table, err := Run(t.Context(), Options{
		Tools: []peer.Tool{buildDray(t)}, Quick: !fulltest.Enabled(), Parallel: len(scenarios()), Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range table.Rows {
		t.Run(row.Side+"/"+row.Fault, func(t *testing.T) {
			t.Parallel()
			c := row.Cells[0]
			for _, failing := range c.Failings {
				t.Errorf("dray must %s: %s", row.Must, failing)
			}
			if t.Failed() {
				t.Logf("its log:\n%s", c.Run.Stderr)
			}
		})
	}
}

// buildDray builds the program of this checkout.
func buildDray(t *testing.T) peer.Tool {
	t.Helper()
	path := filepath.Join(t.TempDir(), dray)
	command := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/draysync/dray/cmd/dray")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command.Args, " "), err, out)
	}
	return peer.Tool{Name: dray, Path: path}
}
