package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// service is a daemon that has everything.
func service() Service {
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	return Service{
		Version: "1.2.3", Started: at(-77 * time.Hour), Generation: 3, Loaded: at(-2 * time.Hour), Parallel: 4,
		Rejected:   []string{"dray.yaml:14:5: mappings[2].tags.semver: no range", hostile},
		RejectedAt: at(-5 * time.Minute),
		Closed:     []ClosedRegistry{{"myregistry.azurecr.io", "source: 403: " + hostile, 1}, {"other.azurecr.io", "dataPlane: none", 12}},
		Jobs: []ServiceJob{
			{
				Job: "alpine", State: "running", Started: at(-90 * time.Second), Outcome: "ok", Ended: at(-2 * time.Hour), LastSuccess: at(-2 * time.Hour),
				Tags: 20, Observed: 20, Imports: 3, Completed: 1,
				UnderWay: []ServiceImport{
					{Target: corp + ":3.20", Bytes: 34_100_000, Total: 120_000_000},
					{Target: corp + ":3.21"},
					{Target: hostile, Bytes: 9, Total: 9},
				},
			},
			{Job: "deferred", State: "deferred", Due: at(20 * time.Minute), DeferredUntil: at(20 * time.Minute), Outcome: "deferred", Ended: at(-2 * time.Minute), LastSuccess: at(-26 * time.Hour)},
			{Job: "failing", State: "scheduled", Due: at(4 * time.Minute), Outcome: "failed", Error: "source ghcr.io/acme/tool: list tags: no answer", Ended: at(-2 * time.Minute), Failures: 3, LastSuccess: at(-75 * time.Hour), Overdue: true},
			{Job: hostile, State: hostile, Due: at(time.Hour), Outcome: hostile, Error: hostile, Ended: at(-time.Hour), Failures: 1},
			{Job: "idle", State: "idle"},
			{Job: "library/hello-world", State: "waiting", Due: at(-time.Minute)},
			{Job: "observing", State: "running", Started: at(-time.Second), Tags: 1000, Observed: 400},
			{Job: "starting", State: "running", Started: noon},
			{Job: "soon", State: "scheduled", Due: at(time.Millisecond), Outcome: "partly", Ended: at(-59 * time.Second), Unverified: 3},
		},
	}
}

func statusText(t *testing.T, s Service, style Style) string {
	t.Helper()
	var b strings.Builder
	if err := Status(&b, s, noon, style); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestStatus(t *testing.T) {
	calm := service()
	calm.Rejected, calm.Closed, calm.Stopping, calm.Jobs = nil, nil, true, calm.Jobs[4:5]
	tests := map[string]struct {
		service Service
		style   Style
	}{
		"status":        {service(), Style{}},
		"status-color":  {service(), Style{Color: true}},
		"status-narrow": {service(), Style{Width: 80}},
		"status-calm":   {calm, Style{Width: 200}},
		"status-empty":  {Service{Parallel: 4, Started: noon, Loaded: noon}, Style{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := statusText(t, test.service, test.style)
			if !test.style.Color {
				checkHarmless(t, got)
			}
			golden(t, name+".txt", got)
		})
	}
}

// The order is that of who needs a look, and what is given is left as it was.
func TestStatusOrder(t *testing.T) {
	s := service()
	before := slices.Clone(s.Jobs)
	text := statusText(t, s, Style{})
	var last int
	for _, name := range []string{"\nfailing ", "\nalpine ", "\nobserving ", "\nstarting ", "\nlibrary/hello-world ", "\nsoon ", "\ndeferred ", "\nidle "} {
		at := strings.Index(text, name)
		if at < last {
			t.Errorf("%q is at %d, after %d", name, at, last)
		}
		last = at
	}
	if d := cmp.Diff(before, s.Jobs); d != "" {
		t.Error(d)
	}
}

// On a terminal the table and the bars fit, as long as there is room for more than names.
func TestStatusWidth(t *testing.T) {
	s := Service{Parallel: 1, Started: noon, Loaded: noon}
	for i := range 3 {
		s.Jobs = append(s.Jobs, ServiceJob{Job: fmt.Sprintf("%s%d", strings.Repeat("long", 30), i), State: "running", Imports: 1, Started: noon,
			UnderWay: []ServiceImport{{Target: strings.Repeat("long", 30), Bytes: 34_100_000, Total: 120_000_000}}})
	}
	for _, width := range []int{70, 80, 120} {
		text := statusText(t, s, Style{Width: width})
		table, rest, _ := strings.Cut(text, "\n\n")
		lines := strings.Split(table, "\n")
		for line := range strings.SplitSeq(rest, "\n") {
			if strings.HasPrefix(line, "  ") {
				lines = append(lines, line)
			}
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > width {
				t.Errorf("%d columns of %d: %q", n, width, line)
			}
		}
		if len(lines) != 7 {
			t.Errorf("%d lines in\n%s", len(lines), text)
		}
	}
}

func TestStatusSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 999 * time.Millisecond: "0s", time.Second: "1s", 90 * time.Second: "1m30s", 3*time.Hour + 20*time.Minute: "3h20m",
		47 * time.Hour: "47h", 48 * time.Hour: "2d", 53*time.Hour + 40*time.Minute: "2d6h", 71*time.Hour + 59*time.Minute: "3d", 2400 * time.Hour: "100d",
	} {
		if got := span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestBar(t *testing.T) {
	tests := []struct {
		done, whole int64
		want        string
	}{
		{0, 10, "[>-------------------]"},
		{5, 10, "[==========>---------]"},
		{9999, 10000, "[===================>]"},
		{10, 10, "[====================]"},
		{11, 10, "[====================]"},
		{-5, 10, "[>-------------------]"},
		{1 << 62, 1 << 62, "[====================]"},
	}
	for _, test := range tests {
		if got := bar(test.done, test.whole); got != test.want {
			t.Errorf("%d of %d is %s", test.done, test.whole, got)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errBroken }

func TestStatusUnwritable(t *testing.T) {
	if err := Status(brokenPipe{}, service(), noon, Style{}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}
