package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/record"
)

// pastRuns are runs of each kind, the newest first.
func pastRuns() []record.JobRun {
	run := func(job string, ago time.Duration, outcome record.Result, why string, counts record.Counts, actions ...record.Action) record.JobRun {
		ended := noon.Add(-ago)
		return record.JobRun{Job: job, Run: record.Run{Started: ended.Add(-90 * time.Second), Ended: ended, Outcome: outcome, Trigger: record.Scheduled, Error: why, Counts: counts}, Actions: actions}
	}
	retry := noon.Add(time.Hour)
	mixed := run(
		"alpine", time.Minute, record.RunPartly, "target "+corp+": 500", record.Counts{Import: 2, Keep: 17, Failed: 1, Refuse: 1, Deferred: 1, Bytes: 34_100_000, Pulls: 3},
		record.Action{Target: corp + ":3.20", Digest: digestA, Outcome: record.Imported, Bytes: 34_000_000, Duration: record.Seconds(1200 * time.Millisecond)},
		record.Action{Target: corp + ":3", Digest: digestA, Was: digestB, Reason: "moved", Outcome: record.Imported, Bytes: 100_000, Unverified: true},
		record.Action{Target: corp + ":2", Digest: digestA, Was: digestB, Outcome: record.Refused, Reason: "moved"},
		record.Action{Target: corp + ":1", Outcome: record.Failed, Error: "500 " + hostile},
		record.Action{Target: corp + ":0", Outcome: record.Deferred, RetryAt: &retry, Error: "no pulls left"},
		record.Action{Target: corp + ":none", Outcome: record.Absent, Error: "no such tag"},
	)
	mixed.More = 4
	idle := run("alpine", 2*time.Hour, record.RunOK, "", record.Counts{Keep: 20})
	idle.Repeats, idle.Since = 11, noon.Add(-14*time.Hour)
	return []record.JobRun{mixed, idle, run(hostile, 26*time.Hour, hostile, hostile, record.Counts{})}
}

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestHistory(t *testing.T) {
	for name, style := range map[string]Style{
		"history": {}, "history-verbose": {Verbose: true}, "history-narrow": {Width: 80, Color: true},
	} {
		var b strings.Builder
		if err := History(&b, pastRuns(), noon, style); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", b.String())
	}
	var b strings.Builder
	if err := History(&b, nil, noon, Style{Verbose: true}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("There are no runs yet.\n", b.String()); diff != "" {
		t.Error(diff)
	}
}
