package report

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

// TestSamples: what the documents show as written by dray is what dray writes.
func TestSamples(t *testing.T) {
	var plan, forecast strings.Builder
	if err := Plan(&plan, []mirror.Result{samplePlan(t)}, Style{}); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 13, 40, 0, 0, time.UTC)
	if err := Forecast(&forecast, sampleOutlook(now), now); err != nil {
		t.Fatal(err)
	}
	job, _, _ := strings.Cut(plan.String(), "\n\n")
	for file, want := range map[string]string{"../../README.md": job + "\n", "../../docs/limits.md": forecast.String()} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not show\n%s", file, want)
		}
	}
}

// samplePlan is what the README shows.
func samplePlan(t *testing.T) mirror.Result {
	t.Helper()
	const latest image.Digest = "sha256:4bcff63911fc0000000000000000000000000000000000000000000000000000"
	outcome := func(op diff.Op, reason diff.Reason, tag string, was image.Digest, bytes int64) mirror.Outcome {
		out := mirror.Outcome{Job: "alpine", Action: diff.Action{
			Op: op, Reason: reason, Digest: latest, Was: was,
			Source: reference(t, "docker.io/library/alpine:"+tag), Target: reference(t, "registry.example:5000/mirror/alpine:"+tag),
		}}
		out.Bytes = bytes
		return out
	}
	r := mirror.Result{Job: "alpine", Outcomes: []mirror.Outcome{
		outcome(diff.Import, diff.Absent, "3.22", "", 3_800_000),
		outcome(diff.Import, diff.Moved, "latest", "sha256:a8560b36e8b80000000000000000000000000000000000000000000000000000", 0),
	}}
	for _, tag := range []string{"3.18", "3.19", "3.20", "3.21"} {
		r.Outcomes = append(r.Outcomes, outcome(diff.Keep, "", tag, latest, 0))
	}
	return r
}

// sampleOutlook is what docs/limits.md shows.
func sampleOutlook(now time.Time) Outlook {
	return Outlook{
		Budget: record.Budget{Registry: "docker.io", Account: "docker.io/acme", Limit: 100, Remaining: 42, Keep: 10, Window: record.Seconds(time.Hour)}, Others: 9,
		Needs: []Need{
			{Job: "postgres", Pulls: 51, Now: 32, Done: now.Add(time.Hour)},
			{Job: "golang", Pulls: 120, Done: now.Add(2 * time.Hour)},
		},
	}
}
