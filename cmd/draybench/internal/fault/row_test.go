package fault

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/cmd/draybench/internal/peer"
	"github.com/draysync/dray/internal/emulator/registry"
)

func TestFailings(t *testing.T) {
	t.Parallel()
	overcome := scenario{side: Source}
	lasting := scenario{side: Target, must: must{causes: []string{"507", noSpace}, spared: 1}}
	good := Cell{Hits: 1, Run: Attempt{Arrived: 4, Of: 4}}
	named := Cell{Hits: 1, Run: Attempt{Arrived: 1, Of: 4, Exit: 3}, Healed: &Attempt{Arrived: 4, Of: 4}, Named: "a line"}
	with := func(c Cell, edit func(*Cell)) Cell { edit(&c); return c }
	for name, test := range map[string]struct {
		scenario scenario
		cell     Cell
		want     []string
	}{
		"converged":           {overcome, good, nil},
		"not met":             {overcome, with(good, func(c *Cell) { c.Hits = 0 }), []string{"the fault was not met"}},
		"partial":             {overcome, with(good, func(c *Cell) { c.Run.Arrived = 3 }), []string{"3 of 4 tags arrived"}},
		"exit code":           {overcome, with(good, func(c *Cell) { c.Run.Exit = 1 }), []string{"exit code 1, not 0"}},
		"broken":              {overcome, with(good, func(c *Cell) { c.Broken = []string{"a:1"} }), []string{"broken: a:1"}},
		"flaw":                {overcome, with(good, func(c *Cell) { c.Flaws = []string{"leak"} }), []string{"flaws: leak"}},
		"hangs":               {overcome, with(good, func(c *Cell) { c.Run.TimedOut = true }), []string{"it did not end in time"}},
		"named":               {lasting, named, nil},
		"too much arrived":    {lasting, with(named, func(c *Cell) { c.Run.Arrived = 2 }), []string{"2 tags arrived, not 1"}},
		"failed as a whole":   {lasting, with(named, func(c *Cell) { c.Run.Exit = 1 }), []string{"exit code 1, not 3"}},
		"not named":           {lasting, with(named, func(c *Cell) { c.Named = "" }), []string{`no line of its log names the target and ["507" "no space left on device"]`}},
		"not whole if healed": {lasting, with(named, func(c *Cell) { c.Healed = &Attempt{Arrived: 3, Of: 4, Exit: 3} }), []string{"healed: partial, exit 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, test.scenario.failings(test.cell)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNamed(t *testing.T) {
	t.Parallel()
	s := scenario{side: Target, must: must{causes: []string{"507", noSpace}}}
	st := &stage{target: &end{server: &registry.Server{Host: "127.0.0.1:2"}}}
	for log, want := range map[string]bool{
		"err: target 127.0.0.1:2/a: PUT answered 507: no space left on device":                        true,
		"err: source 127.0.0.1:2/a: PUT answered 507: no space left on device":                        false,
		"err: target 127.0.0.1:3/a: PUT answered 507: no space left on device":                        false,
		"err: target 127.0.0.1:2/a: PUT answered 500: no space left on device":                        false,
		"err: target 127.0.0.1:2/a: PUT answered 507":                                                 false,
		"err: target 127.0.0.1:2/a: PUT failed\nerr: PUT answered 507: no space left on device":       false,
		"fine\nerr: target 127.0.0.1:2/a: PUT answered 507: no space left on device\nanother message": true,
	} {
		if got := s.named(st, log) != ""; got != want {
			t.Errorf("%q: %v", log, got)
		}
	}
}

func TestTableIsWritten(t *testing.T) {
	t.Parallel()
	table := Table{
		Tools: []peer.Tool{{Name: dray, Version: "1.0"}, {Name: "crane"}},
		Rows: []Row{{Fault: "disk | full", Side: Target, Must: "name it", Cells: []Cell{
			{Tool: dray, Hits: 1, Run: Attempt{Of: 4, Exit: 3, Seconds: 1.26}, Healed: &Attempt{Arrived: 4, Of: 4}, Named: "a line"},
			{Tool: "crane", Hits: 1, Run: Attempt{Arrived: 3, Of: 4, Seconds: 2}, Healed: &Attempt{Of: 4, TimedOut: true}, Broken: []string{"a:1"}, Flaws: []string{"leak"}},
		}}},
	}
	for name, test := range map[string]struct {
		markdown bool
		want     string
	}{
		"markdown": {true, `| side | fault | dray must | dray 1.0 | crane |
| --- | --- | --- | --- | --- |
| target | disk \| full | name it | none, exit 3, 1.3 s, named; healed: whole | BROKEN, partial, exit 0 (!), 2.0 s; healed: none, hangs; leak |
`},
		"terminal": {false, `side    fault        dray must  dray 1.0                                   crane
target  disk | full  name it    none, exit 3, 1.3 s, named; healed: whole  BROKEN, partial, exit 0 (!), 2.0 s; healed: none, hangs; leak
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			if err := table.Write(&out, test.markdown); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScenarioNamesAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range scenarios() {
		if seen[s.name()] {
			t.Errorf("two scenarios are %q", s.name())
		}
		seen[s.name()] = true
	}
}
