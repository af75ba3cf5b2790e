package metrics_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/fulltest"
)

// promtool runs Prometheus' own checks.
func promtool(t *testing.T, arguments ...string) {
	t.Helper()
	program := fulltest.Program(t, "promtool", "Debian's package prometheus")
	if out, err := exec.CommandContext(t.Context(), program, arguments...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
}

func TestPromtool(t *testing.T) {
	t.Run("rules", func(t *testing.T) { promtool(t, "check", "rules", rulesFile) })
	t.Run("tests of rules", func(t *testing.T) { promtool(t, "test", "rules", rulesTestFile) })
	t.Run("config", func(t *testing.T) { promtool(t, "check", "config", configFile) })
	t.Run("queries of the dashboard", func(t *testing.T) { promtool(t, "check", "rules", asRules(t, readDashboard(t).queries())) })
}

// asRules writes queries as a file of rules, which promtool can check.
func asRules(t *testing.T, queries []string) (file string) {
	t.Helper()
	if len(queries) < 15 {
		t.Fatalf("only %d queries were found", len(queries))
	}
	rules := make([]map[string]string, len(queries))
	for i, query := range queries {
		rules[i] = map[string]string{"record": fmt.Sprintf("query:%d", i), "expr": query}
	}
	raw, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
