package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/draysync/dray/internal/record"
	"github.com/google/go-cmp/cmp"
)

// service is a daemon that has everything.
func service() record.Snapshot {
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	last := func(outcome record.Result, ago time.Duration, why string) *record.Run {
		return &record.Run{Outcome: outcome, Ended: at(-ago), Error: why}
	}
	return record.Snapshot{
		Dray: "1.2.3", Started: at(-77 * time.Hour), Now: noon, Totals: record.Totals{Parallel: 4},
		Config: record.Config{
			Generation: 3, Loaded: at(-2 * time.Hour), RejectedAt: at(-5 * time.Minute),
			Rejected: []string{"dray.yaml:14:5: mappings[2].tags.semver: no range", hostile},
		},
		Receivers: []record.Receiver{
			{Name: "hub", Type: "dockerhub", Path: "/hook/hub/5d0c", Events: map[string]int64{"unwanted": 3, "accepted": 12}, LastEvent: at(-time.Minute)},
			{Name: "corp", Type: "harbor", Path: "/hook/corp"},
		},
		Paused: &record.Pause{Since: at(-time.Minute), By: "10.0.0.1", All: true},
		Closed: []record.ClosedRegistry{{Registry: "myregistry.azurecr.io", Reason: "source: 403: " + hostile, Repositories: 1}, {Registry: "other.azurecr.io", Reason: "dataPlane: none", Repositories: 12}},
		Jobs: []record.JobStatus{
			{
				Job: "alpine", State: record.JobRunning, Started: at(-90 * time.Second), Last: last(record.RunOK, 2*time.Hour, ""), LastSuccess: at(-2 * time.Hour),
				Progress: &record.Progress{Tags: 20, Observed: 20, Imports: 3, Completed: 1, UnderWay: []record.Import{
					{Target: corp + ":3.20", Bytes: 34_100_000, Total: 120_000_000},
					{Target: corp + ":3.21"},
					{Target: hostile, Bytes: 9, Total: 9},
				}},
			},
			{Job: "deferred", State: record.JobDeferred, Due: at(20 * time.Minute), DeferredUntil: at(20 * time.Minute), Last: last(record.RunDeferred, 2*time.Minute, ""), LastSuccess: at(-26 * time.Hour)},
			{Job: "failing", State: record.JobScheduled, Due: at(4 * time.Minute), Last: last(record.RunFailed, 2*time.Minute, "source ghcr.io/acme/tool: list tags: no answer"), Failures: 3, LastSuccess: at(-75 * time.Hour), Overdue: true},
			{Job: hostile, State: hostile, Due: at(time.Hour), Last: last(hostile, time.Hour, hostile), Failures: 1},
			{Job: "idle", State: record.JobIdle},
			{Job: "library/hello-world", State: record.JobWaiting, Due: at(-time.Minute)},
			{Job: "observing", State: record.JobRunning, Started: at(-time.Second), Progress: &record.Progress{Tags: 1000, Observed: 400}},
			{Job: "paused", State: record.JobPaused, Paused: &record.Pause{Since: at(-3 * time.Hour), By: "ann@laptop (127.0.0.1)", Reason: hostile}},
			{Job: "starting", State: record.JobRunning, Started: noon},
			{Job: "soon", State: record.JobScheduled, Due: at(time.Millisecond), Last: &record.Run{Outcome: record.RunPartly, Ended: at(-59 * time.Second), Counts: record.Counts{Unverified: 3}}},
		},
	}
}

func statusText(t *testing.T, s record.Snapshot, style Style) string {
	t.Helper()
	var b strings.Builder
	if err := Status(&b, s, style); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestStatus(t *testing.T) {
	calm := service()
	calm.Config.Rejected, calm.Closed, calm.Stopping, calm.Jobs = nil, nil, true, calm.Jobs[4:5]
	shared := service()
	shared.Jobs[0].Replica, shared.Jobs[6].Replica, shared.Jobs[7].Replica = "dray-1", "dray-2", hostile
	shared.Replicas = []record.Replica{
		{Name: "dray-1", Dray: "1.2.3", Joined: noon.Add(-77 * time.Hour), InForce: true, Jobs: 1, Me: true},
		{Name: "dray-2", Dray: "1.2.3", Joined: noon.Add(-time.Minute), Jobs: 2, Parts: 3},
		{Name: hostile, Dray: hostile, Joined: noon, InForce: true},
	}
	shared.Config.Hash, shared.Config.InForce = "4f1c00112233445566", "4f1c00112233445566"
	shared.Replicas[0].Generation, shared.Replicas[1].Generation, shared.Replicas[2].Generation = shared.Config.Hash, "db7a00112233445566", hostile
	shared.Ledger = &record.Ledger{Reachable: true, RoundTrip: 0.00123}
	away := shared
	away.Ledger = &record.Ledger{Since: noon.Add(-90 * time.Second)}
	tests := map[string]struct {
		service record.Snapshot
		style   Style
	}{
		"status":          {service(), Style{}},
		"status-color":    {service(), Style{Color: true}},
		"status-narrow":   {service(), Style{Width: 80}},
		"status-replicas": {shared, Style{}},
		"status-away":     {away, Style{Width: 80}},
		"status-calm":     {calm, Style{Width: 200}},
		"status-empty":    {record.Snapshot{Totals: record.Totals{Parallel: 4}, Started: noon, Now: noon, Config: record.Config{Loaded: noon}}, Style{}},
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
	s := record.Snapshot{Totals: record.Totals{Parallel: 1}, Started: noon, Now: noon, Config: record.Config{Loaded: noon}}
	for i := range 3 {
		s.Jobs = append(s.Jobs, record.JobStatus{Job: fmt.Sprintf("%s%d", strings.Repeat("long", 30), i), State: record.JobRunning, Started: noon,
			Progress: &record.Progress{Imports: 1, UnderWay: []record.Import{{Target: strings.Repeat("long", 30), Bytes: 34_100_000, Total: 120_000_000}}}})
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
	if err := Status(brokenPipe{}, service(), Style{}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}
