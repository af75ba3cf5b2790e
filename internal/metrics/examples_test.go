package metrics_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const (
	rulesFile     = "../../examples/prometheus/dray.rules.yml"
	rulesTestFile = "../../examples/prometheus/dray.rules.test.yml"
	configFile    = "../../examples/prometheus/prometheus.yml"
	dashboardFile = "../../examples/grafana/dray.json"
)

// ruleFile is a file of rules, as far as the tests look at it.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Record, Alert, Expr, For string
			Labels, Annotations      map[string]string
		}
	}
}

func readRules(t *testing.T) (f ruleFile) {
	t.Helper()
	raw, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

// dashboard is a dashboard of Grafana, as far as the tests look at it.
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Datasource               struct{ UID string }
		Targets                  []struct {
			Expr       string
			Datasource struct{ UID string }
		}
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	raw, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// queries are all of a dashboard, with values for Grafana's variables.
func (d dashboard) queries() (all []string) {
	values := strings.NewReplacer("$__rate_interval", "2m", "$__interval", "5m", "$instance", "a:8484")
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, values.Replace(target.Expr))
		}
	}
	return all
}

// exposed are the names of all metrics as they are queried, with their labels.
func exposed(t *testing.T) map[string][]string {
	t.Helper()
	labels := map[string][]string{}
	label := regexp.MustCompile(`([a-z_]+)="`)
	for line := range strings.Lines(get(t, shared(t).Handler()).Body.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name := line[:strings.IndexAny(line, "{ ")]
		for _, found := range label.FindAllStringSubmatch(line, -1) {
			labels[name] = append(labels[name], found[1])
		}
		labels[name] = append(labels[name], "instance", "job") // every target has them
	}
	return labels
}

var (
	name    = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	quoted  = regexp.MustCompile(`"[^"]*"`)
	chosen  = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}`)
	matcher = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!=|!~|=)\s*"`)
	grouped = regexp.MustCompile(`\b(?:by|on|without|ignoring)\s*\(([^)]*)\)`)
)

// unknown returns what a query names that is not there: metrics, and labels of a metric.
func unknown(query string, known map[string][]string) (wrong []string) {
	query = quoted.ReplaceAllString(query, `""`)
	for _, n := range name.FindAllString(query, -1) {
		if _, ok := known[n]; !ok && strings.Contains(n, "dray_") {
			wrong = append(wrong, n)
		}
	}
	for _, selector := range chosen.FindAllStringSubmatch(query, -1) {
		for _, m := range matcher.FindAllStringSubmatch(selector[2], -1) {
			if labels, ok := known[selector[1]]; ok && !slices.Contains(labels, m[1]) {
				wrong = append(wrong, selector[1]+"{"+m[1]+"}")
			}
		}
	}
	for _, list := range grouped.FindAllStringSubmatch(query, -1) {
		for _, label := range name.FindAllString(list[1], -1) {
			for _, n := range name.FindAllString(query, -1) {
				if labels, ok := known[n]; ok && !slices.Contains(labels, label) {
					wrong = append(wrong, n+" by "+label)
				}
			}
		}
	}
	return wrong
}

func TestUnknown(t *testing.T) {
	known := map[string][]string{"dray_a_total": {"job"}}
	for query, want := range map[string]int{
		`sum by (job) (rate(dray_a_total{job="x"}[5m])) > 3`: 0,
		`dray_b_total`:                            1,
		`x:dray_a_total:rate5m`:                   1,
		`dray_a_total{job="dray_x"}`:              0,
		`dray_a_total{code=~"4.."}`:               1,
		`sum by (job, code) (rate(dray_a_total))`: 1,
	} {
		if wrong := unknown(query, known); len(wrong) != want {
			t.Errorf("%s: %q", query, wrong)
		}
	}
}

func TestRulesNameWhatThereIs(t *testing.T) {
	known := exposed(t)
	known["up"] = []string{"instance", "job"}
	rules, queries := readRules(t), regexp.MustCompile("`[^`]*`")
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if wrong := unknown(r.Expr, known); len(wrong) > 0 {
				t.Errorf("%s%s: there is no %q", r.Record, r.Alert, wrong)
			}
			if r.Record != "" {
				known[r.Record] = []string{"instance", "job", "engine", "outcome"}
				continue
			}
			if r.For == "" || r.Labels["severity"] == "" {
				t.Errorf("%s has no for, or no severity", r.Alert)
			}
			for _, key := range []string{"summary", "description", "runbook"} {
				if r.Annotations[key] == "" {
					t.Errorf("%s has no %s", r.Alert, key)
				}
			}
			for _, query := range queries.FindAllString(r.Annotations["runbook"], -1) {
				if wrong := unknown(query, known); strings.Contains(query, "dray_") && len(wrong) > 0 {
					t.Errorf("%s, runbook: there is no %q", r.Alert, wrong)
				}
			}
		}
	}
}

// TestRulesAreTested: each alert is expected to fire once at least, and at another moment not to.
func TestRulesAreTested(t *testing.T) {
	raw, err := os.ReadFile(rulesTestFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			if r.Alert != "" && strings.Count(string(raw), r.Alert) < 2 {
				t.Errorf("%s is not tested", r.Alert)
			}
		}
	}
}

func TestDashboard(t *testing.T) {
	d, known := readDashboard(t), exposed(t)
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 39 {
		t.Errorf("title %q, uid %q, schema version %d", d.Title, d.UID, d.SchemaVersion)
	}
	for _, query := range d.queries() {
		if wrong := unknown(query, known); len(wrong) > 0 || strings.Contains(query, "$") {
			t.Errorf("%s: there is no %q, or a variable without value", query, wrong)
		}
	}
	for _, v := range d.Templating.List {
		if wrong := unknown(v.Definition, known); len(wrong) > 0 {
			t.Errorf("variable %s: there is no %q", v.Name, wrong)
		}
	}
	ids, places := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.Description == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d, %q, is not whole, or not in its place", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("panel %q asks the source %q", p.Title, target.Datasource.UID)
			}
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, taken := places[at]; taken {
					t.Fatalf("panels %q and %q overlap", p.Title, other)
				}
				places[at] = p.Title
			}
		}
	}
}

func TestScrapeConfig(t *testing.T) {
	raw, err := os.ReadFile(configFile)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName     string `yaml:"job_name"`
			HonorLabels bool   `yaml:"honor_labels"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.ScrapeConfigs) != 1 || config.ScrapeConfigs[0].JobName != "dray" || !config.ScrapeConfigs[0].HonorLabels {
		t.Errorf("the rules need a scrape job dray with honor_labels: %+v", config)
	}
	if !slices.Equal(config.RuleFiles, []string{filepath.Base(rulesFile)}) {
		t.Errorf("rule files %q", config.RuleFiles)
	}
}
