package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

func TestScheduledTakesBack(t *testing.T) {
	m := metrics.New("")
	m.Scheduled(record.JobStatus{Job: "alpine", Due: noon, LastSuccess: noon, Deadline: noon, Failures: 2, Paused: &record.Pause{}})
	if lines := series(t, m, `job="alpine"`); len(lines) != 5 || lines[3] != `dray_job_paused{job="alpine",mapping="alpine"} 1` {
		t.Errorf("%q", lines)
	}
	m.Scheduled(record.JobStatus{Job: "alpine"})
	want := []string{`dray_job_consecutive_failures{job="alpine",mapping="alpine"} 0`}
	if diff := cmp.Diff(want, series(t, m, `job="alpine"`)); diff != "" {
		t.Error(diff)
	}
}

// TestCountedKept: kept tags that a result only counts are counted as others are.
func TestCountedKept(t *testing.T) {
	m := metrics.New("")
	m.Scheduled(record.JobStatus{Job: "alpine"})
	m.Ran(mirror.Result{Job: "alpine", Outcomes: outcomes()[:1], Kept: []mirror.Kept{{Reason: diff.Unchanged, Count: 41}, {Reason: diff.Immutable, Count: 7}}})
	want := []string{
		`dray_actions_total{job="alpine",mapping="alpine",op="keep",reason="immutable"} 7`, `dray_actions_total{job="alpine",mapping="alpine",op="keep",reason="unchanged"} 42`,
	}
	if d := cmp.Diff(want, series(t, m, "dray_actions_total")); d != "" {
		t.Error(d)
	}
}

func TestRemoved(t *testing.T) {
	m := filled(t)
	m.Scheduled(record.JobStatus{Job: "debian", Due: noon})
	m.Ran(mirror.Result{Job: "debian", Outcomes: outcomes()[:1]})
	others, shared := series(t, m, `job="debian"`), series(t, m, "dray_import_duration")
	m.Removed("alpine")
	m.Removed("unheard-of")
	if lines := series(t, m, "alpine"); len(lines) > 0 {
		t.Errorf("left over: %q", lines)
	}
	if diff := cmp.Diff(others, series(t, m, `job="debian"`)); diff != "" {
		t.Error("another job's: " + diff)
	}
	if diff := cmp.Diff(shared, series(t, m, "dray_import_duration")); diff != "" {
		t.Error("what is of no job: " + diff)
	}
	m.Scheduled(record.JobStatus{Job: "alpine"})
	m.Ran(mirror.Result{Job: "alpine", Outcomes: outcomes()[:1]})
	want := []string{`dray_actions_total{job="alpine",mapping="alpine",op="keep",reason="unchanged"} 1`, `dray_job_consecutive_failures{job="alpine",mapping="alpine"} 0`}
	if diff := cmp.Diff(want, series(t, m, "alpine")); diff != "" {
		t.Error("added again: " + diff)
	}
}

// TestOutlasting: a run that ends after its job was removed does not bring its series back.
func TestOutlasting(t *testing.T) {
	m := metrics.New("")
	m.Scheduled(record.JobStatus{Job: "alpine"})
	m.Removed("alpine")
	m.Ran(mirror.Result{Job: "alpine", Outcomes: outcomes()})
	if lines := series(t, m, "alpine"); len(lines) > 0 {
		t.Errorf("back again: %q", lines)
	}
	want := []string{`dray_imported_bytes_total{engine="copy"} 1.0747905e+09`, `dray_imported_bytes_total{engine="other"} 7`}
	if diff := cmp.Diff(want, series(t, m, "dray_imported_bytes_total")); diff != "" {
		t.Error(diff)
	}
}

func TestForeignText(t *testing.T) {
	m := metrics.New("")
	name := "a\xff\"\n"
	m.Scheduled(record.JobStatus{Job: name, Failures: 1})
	m.Ran(mirror.Result{Job: name, Outcomes: outcomes()[:1]})
	want := "dray_job_consecutive_failures{job=\"a\uFFFD\\\"\\n\",mapping=\"a\uFFFD\\\"\\n\"} 1"
	if text := scrape(t, m); !strings.Contains(text, want) {
		t.Errorf("no %s in\n%s", want, text)
	}
	m.Removed(name)
	if lines := series(t, m, "job="); len(lines) > 0 {
		t.Errorf("left over: %q", lines)
	}
}

// many returns metrics of as many jobs, each of which has kept, imported and failed.
func many(b testing.TB, jobs int) *metrics.Metrics {
	m := metrics.New("", "copy")
	for i := range jobs {
		m.Scheduled(record.JobStatus{Job: jobName(i), Due: noon.Add(time.Duration(i) * time.Second), LastSuccess: noon, Deadline: noon})
		m.Ran(mirror.Result{Job: jobName(i), Outcomes: outcomes()[:5]})
	}
	request(b, m, "docker.io", "GET", 200)
	return m
}

func BenchmarkScrape10000Jobs(b *testing.B) {
	handler := many(b, 10_000).Handler()
	for _, c := range []struct{ name, encoding string }{{"plain", "identity"}, {"gzip", "gzip"}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = get(b, handler, "Accept-Encoding", c.encoding).Body.Len()
			}
			b.ReportMetric(float64(size)/(1<<20), "MiB/scrape")
		})
	}
}

func BenchmarkReplace10000Jobs(b *testing.B) {
	m := many(b, 10_000)
	for b.Loop() {
		for i := range 10_000 {
			m.Removed(jobName(i))
			m.Scheduled(record.JobStatus{Job: jobName(i), Due: noon, LastSuccess: noon, Deadline: noon})
			m.Ran(mirror.Result{Job: jobName(i), Outcomes: outcomes()[:5]})
		}
	}
}
