package report

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/mirror"
)

func TestPlan(t *testing.T) {
	tests := map[string]struct {
		results []mirror.Result
		style   Style
	}{
		"plan.txt":         {planResults(t), Style{}},
		"plan-color.txt":   {planResults(t), Style{Color: true, Width: 100}},
		"plan-narrow.txt":  {planResults(t), Style{Width: 20}},
		"plan-nothing.txt": {[]mirror.Result{{Job: "a", Outcomes: []mirror.Outcome{kept(t, "1")}}}, Style{}},
		"plan-empty.txt":   {nil, Style{}},
		"plan-one.txt": {[]mirror.Result{{Job: "a", Outcomes: []mirror.Outcome{
			{Action: at(t, "1", 1, 0).Action, Cost: mirror.Cost{Pulls: 1, Bytes: 5000}},
		}}}, Style{}},
	}
	for file, test := range tests {
		t.Run(file, func(t *testing.T) {
			var b strings.Builder
			if err := Plan(&b, test.results, test.style); err != nil {
				t.Fatal(err)
			}
			checkHarmless(t, b.String())
			golden(t, file, b.String())
		})
	}
}

func TestSummary(t *testing.T) {
	tests := map[string]struct {
		results []mirror.Result
		style   Style
	}{
		"summary.txt":         {syncResults(t), Style{}},
		"summary-color.txt":   {syncResults(t), Style{Color: true, Width: 40}},
		"summary-nothing.txt": {[]mirror.Result{{Job: "a", Outcomes: []mirror.Outcome{kept(t, "1")}}}, Style{}},
		"summary-empty.txt":   {nil, Style{}},
	}
	for file, test := range tests {
		t.Run(file, func(t *testing.T) {
			var b strings.Builder
			if err := Summary(&b, "sync", test.results, 65*time.Second, test.style); err != nil {
				t.Fatal(err)
			}
			checkHarmless(t, b.String())
			golden(t, file, b.String())
		})
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken pipe")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteErrors(t *testing.T) {
	tests := map[string]error{
		"plan":    Plan(brokenWriter{}, nil, Style{}),
		"summary": Summary(brokenWriter{}, "sync", nil, 0, Style{}),
		"json":    JSON(brokenWriter{}, "plan", noon, 0, nil),
	}
	for name, err := range tests {
		t.Run(name, func(t *testing.T) {
			if !errors.Is(err, errBroken) {
				t.Errorf("got %v, want %v", err, errBroken)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	with := func(op diff.Op, s mirror.Status) []mirror.Result {
		out := mirror.Outcome{Status: s}
		out.Op = op
		return []mirror.Result{{Outcomes: []mirror.Outcome{out}}}
	}
	tests := map[string]struct {
		results []mirror.Result
		want    Verdict
	}{
		"nothing":          {nil, Verdict{}},
		"kept":             {with(diff.Keep, mirror.Kept), Verdict{}},
		"imported":         {with(diff.Import, mirror.Imported), Verdict{}},
		"to import":        {with(diff.Import, ""), Verdict{Pending: true}},
		"refused":          {with(diff.Refuse, mirror.Refused), Verdict{Incomplete: true}},
		"to refuse":        {with(diff.Refuse, ""), Verdict{Incomplete: true}},
		"failed":           {with(diff.Import, mirror.Failed), Verdict{Incomplete: true}},
		"deferred":         {with(diff.Import, mirror.Deferred), Verdict{Incomplete: true}},
		"a job failed":     {[]mirror.Result{{Err: errBroken}}, Verdict{Incomplete: true}},
		"both in one plan": {append(with(diff.Import, ""), with(diff.Import, mirror.Failed)...), Verdict{Incomplete: true, Pending: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(test.want, Judge(test.results)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	tests := map[string]struct {
		style  Style
		indent int
		want   string
	}{
		"no width":    {Style{}, 4, "one two three four five six seven eight"},
		"fits":        {Style{Width: 60}, 4, "one two three four five six seven eight"},
		"breaks":      {Style{Width: 34}, 4, "one two three four five six\n    seven eight"},
		"breaks late": {Style{Width: 37}, 4, "one two three four five six seven\n    eight"},
		"no room for": {Style{Width: 36}, 4, "one two three four five six\n    seven eight"},
		"too narrow":  {Style{Width: 33}, 4, "one two three four five six seven eight"},
		"exactly one": {Style{Width: 43}, 4, "one two three four five six seven eight"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(test.want, test.style.wrap("one two three four five six seven eight", test.indent)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// An import without a config is not sent to one.
func TestSummaryOfAnImport(t *testing.T) {
	var b strings.Builder
	if err := Summary(&b, "import", []mirror.Result{{Job: "a → b", Err: errors.New("no")}}, time.Second, Style{}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "Run the same again once that is mended") || strings.Contains(got, "dray check") {
		t.Error(got)
	}
}
