package report

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
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

// TestCountedKept: a plan, a summary and a verdict say the same of kept tags that are only counted.
func TestCountedKept(t *testing.T) {
	each := planResults(t)
	each = append(each, mirror.Result{Job: "one", Outcomes: []mirror.Outcome{kept(t, "1"), kept(t, "2")}})
	counted := make([]mirror.Result, len(each))
	for i, r := range each {
		counted[i] = r
		counted[i].Outcomes = nil
		for _, out := range r.Outcomes {
			if out.Settled() != record.Kept {
				counted[i].Outcomes = append(counted[i].Outcomes, out)
				continue
			}
			counted[i].Kept = append(counted[i].Kept, mirror.Kept{Source: out.Source.Repository, Target: out.Target.Repository, Reason: out.Reason, Count: 1})
		}
	}
	var want, got strings.Builder
	if err := errors.Join(Plan(&want, each, Style{}), Summary(&want, "sync", each, time.Second, Style{}), Plan(&got, counted, Style{}), Summary(&got, "sync", counted, time.Second, Style{})); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Error(diff)
	}
	if Judge(each) != Judge(counted) {
		t.Errorf("%+v, %+v", Judge(each), Judge(counted))
	}
}

// TestHints: dray check --online is named only where a registry is the reason.
func TestHints(t *testing.T) {
	for name, test := range map[string]struct {
		status record.Status
		err    error
		want   bool
	}{
		"a registry is gone":           {record.Failed, mirror.At(mirror.Source, at(t, "1", 1, 0).Source, errors.New("no answer")), true},
		"a filter chooses nothing":     {record.NothingChosen, errors.New("no tag is chosen"), false},
		"the disk of a layout is full": {record.Failed, &mirror.SideError{Side: mirror.Target, Ref: image.LayoutScheme + "/srv/x", Err: errors.New("no space left")}, false},
	} {
		out := at(t, "1", 1, 0)
		out.Status, out.Err = test.status, test.err
		results := []mirror.Result{{Job: "a", Outcomes: []mirror.Outcome{out}}}
		var plan, sync strings.Builder
		if err := errors.Join(Plan(&plan, results, Style{}), Summary(&sync, "sync", results, time.Second, Style{})); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{plan.String(), sync.String()} {
			if strings.Contains(text, "check --online") != test.want {
				t.Errorf("%s:\n%s", name, text)
			}
		}
		if !strings.Contains(sync.String(), "sync again: what arrived stays.") {
			t.Errorf("%s:\n%s", name, sync.String())
		}
	}
}

// An interruption is no error of each tag.
func TestPlanInterrupted(t *testing.T) {
	stopped := at(t, "2", 2, 0)
	stopped.Status, stopped.Err = record.Failed, fmt.Errorf("HEAD manifest: %w", context.Canceled)
	var b strings.Builder
	if err := Plan(&b, []mirror.Result{
		{Job: "a", Outcomes: []mirror.Outcome{kept(t, "1"), stopped, stopped}}, {Job: "b", Err: context.Canceled},
	}, Style{}); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{"    1 unchanged\n    2 interrupted\n", "b: interrupted\n", "0 failed\n", "Interrupted with 3 not planned. Run dray plan again.\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "HEAD manifest") {
		t.Errorf("each tag is an error:\n%s", got)
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
	with := func(op diff.Op, s record.Status) []mirror.Result {
		out := mirror.Outcome{Status: s}
		out.Op = op
		return []mirror.Result{{Outcomes: []mirror.Outcome{out}}}
	}
	tests := map[string]struct {
		results []mirror.Result
		want    Verdict
	}{
		"nothing":          {nil, Verdict{}},
		"kept":             {with(diff.Keep, record.Kept), Verdict{}},
		"imported":         {with(diff.Import, record.Imported), Verdict{}},
		"to import":        {with(diff.Import, ""), Verdict{Pending: true}},
		"refused":          {with(diff.Refuse, record.Refused), Verdict{Incomplete: true}},
		"to refuse":        {with(diff.Refuse, ""), Verdict{Incomplete: true}},
		"failed":           {with(diff.Import, record.Failed), Verdict{Incomplete: true}},
		"deferred":         {with(diff.Import, record.Deferred), Verdict{Incomplete: true}},
		"a job failed":     {[]mirror.Result{{Err: errBroken}}, Verdict{Incomplete: true}},
		"both in one plan": {append(with(diff.Import, ""), with(diff.Import, record.Failed)...), Verdict{Incomplete: true, Pending: true}},
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
	if got := b.String(); !strings.Contains(got, "Fix that and run the same command again") || strings.Contains(got, "dray check") {
		t.Error(got)
	}
}

// TestSummaryInterrupted: to be interrupted is no error of what was under way.
func TestSummaryInterrupted(t *testing.T) {
	var outcomes []mirror.Outcome
	for _, tag := range []string{"1", "2"} {
		out := at(t, tag, 1, 0)
		out.Status, out.Err = record.Failed, mirror.At(mirror.Target, out.Target, context.Canceled)
		outcomes = append(outcomes, out)
	}
	var b strings.Builder
	if err := Summary(&b, "sync", []mirror.Result{{Job: "a", Outcomes: outcomes}, {Job: "b", Err: context.Canceled}}, time.Second, Style{}); err != nil {
		t.Fatal(err)
	}
	want := "Sync: 0 imported, 0 unchanged, 0 refused, 0 failed; 0 B moved, 0 manifest pulls, in 1s\n" +
		"Interrupted with 3 not done. Run dray sync again: what arrived stays.\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// TestSummaryCauses: forty tags and one dead target are one line, or with Verbose forty.
func TestSummaryCauses(t *testing.T) {
	var outcomes []mirror.Outcome
	for i := range 40 {
		out := at(t, fmt.Sprint("v", i), 1, 0)
		out.Status, out.Err = record.Failed, mirror.At(mirror.Target, out.Target, errBroken)
		outcomes = append(outcomes, out)
	}
	for verbose, want := range map[bool]int{false: 1, true: 40} {
		var b strings.Builder
		if err := Summary(&b, "sync", []mirror.Result{{Job: "a", Outcomes: outcomes}}, time.Second, Style{Verbose: verbose}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "error: job a: target"); n != want || !strings.Contains(b.String(), " 40 failed") {
			t.Errorf("verbose %t: %d lines: %s", verbose, n, b.String())
		}
	}
}
