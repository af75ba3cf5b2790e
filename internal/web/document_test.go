package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
	"github.com/google/go-cmp/cmp"
)

func TestDocuments(t *testing.T) {
	address := start(t, Options{Daemon: fullDaemon()})
	for file, path := range map[string]string{"status.json": "/api/v1/status", "jobs.json": "/api/v1/jobs", "history.json": "/api/v1/history"} {
		t.Run(file, func(t *testing.T) {
			_, body := ask(t, "GET", "http://"+address+path, nil)
			if !json.Valid([]byte(body)) {
				t.Errorf("not JSON: %s", body)
			}
			golden(t, file, body)
		})
	}
}

func TestEmptyDocuments(t *testing.T) {
	address := start(t, Options{Daemon: &fake{}})
	for path, want := range map[string]string{
		"/api/v1/status": `{"version":1,"dray":"","now":"0001-01-01T00:00:00Z","stopping":false,"config":{"generation":0,"rejected":[]},` +
			`"totals":{"jobs":0,"running":0,"parallel":0,"waiting":0,"deferred":0,"paused":0,"failing":0,"overdue":0},"jobs":[]}`,
		"/api/v1/jobs": `{"version":1,"now":"0001-01-01T00:00:00Z","jobs":[]}`,
	} {
		if _, body := ask(t, "GET", "http://"+address+path, nil); strings.TrimSpace(body) != want {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// What a client reads is what the daemon said.
func TestClientReadsAll(t *testing.T) {
	client := NewClient(start(t, Options{Daemon: fullDaemon()}), "")
	defer client.Close()
	got, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := full()
	complete(&want)
	for i := range want.Jobs {
		want.Jobs[i].Deadline, want.Jobs[i].Accounts = time.Time{}, nil // are not sent
	}
	want.Receivers[0].Keyed, want.Budgets[0].Levels = false, nil // neither
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if want := (record.Totals{Jobs: 8, Running: 2, Parallel: 4, Waiting: 1, Deferred: 1, Paused: 2, Failing: 2, Overdue: 1}); got.Totals != want {
		t.Errorf("totals %+v", got.Totals)
	}
	runs, err := client.History(t.Context(), "alpine", 10)
	if err != nil || len(runs) != 2 || runs[0].Error != hostile {
		t.Errorf("history %v, %v", runs, err)
	}
}

// Times that are told are never too early for who comes back, and never later than what has happened.
func TestWholeSeconds(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 1, time.UTC)
	if got := past(at); got.Nanosecond() != 0 || got.After(at) {
		t.Errorf("past gives %v", got)
	}
	if got := future(at); got.Nanosecond() != 0 || got.Before(at) || got.Sub(at) >= time.Second {
		t.Errorf("future gives %v", got)
	}
	if !past(time.Time{}).IsZero() || !future(time.Time{}).IsZero() {
		t.Error("no time becomes one")
	}
}

func many(n int) func(context.Context) (record.Snapshot, error) {
	return func(context.Context) (record.Snapshot, error) {
		s := record.Snapshot{Now: noon, Jobs: make([]record.JobStatus, n)}
		for i := range s.Jobs {
			name := fmt.Sprintf("library/image-%05d", i)
			s.Jobs[i] = record.JobStatus{
				Job: name, Schedule: "17 */6 * * *", Source: "docker.io/" + name, Targets: []string{fmt.Sprintf("registry-%d.corp.example:5000/mirror/%s", i%7, name)},
				State: record.JobScheduled, Due: noon.Add(time.Duration(i) * time.Second), LastSuccess: noon,
				Last: &record.Run{Started: noon, Ended: noon, Outcome: record.RunOK, Counts: record.Counts{Keep: i}},
			}
		}
		return s, nil
	}
}

func TestManyJobs(t *testing.T) {
	address := start(t, Options{Daemon: &fake{status: many(10_000)}})
	_, body := ask(t, "GET", "http://"+address+"/api/v1/jobs", nil)
	var got Jobs
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Jobs) != 10_000 {
		t.Errorf("%d jobs, %v", len(got.Jobs), err)
	}
	_, page := ask(t, "GET", "http://"+address+"/", nil)
	if n := strings.Count(page, `<th scope="row">`); n != pageRows || !strings.Contains(page, "1 to 50 of 10\u202f000 jobs") {
		t.Errorf("the page has %d rows", n)
	}
	_, page = ask(t, "GET", "http://"+address+"/?q=IMAGE-0999", nil)
	if n := strings.Count(page, `<th scope="row">`); n != 10 {
		t.Errorf("the search finds %d rows", n)
	}
}

// However much there is, a page is small.
func TestPageSize(t *testing.T) {
	status := func(ctx context.Context) (record.Snapshot, error) {
		s, err := many(10_000)(ctx)
		long := strings.Repeat("x", 100)
		for i := range s.Jobs {
			j := &s.Jobs[i]
			j.Job, j.Source, j.Targets = fmt.Sprintf("%s/%d", long, i), "docker.io/"+long, []string{fmt.Sprintf("registry-%d.example/%s", i, long)}
			j.State, j.Started, j.Failures, j.Last.Error = record.JobRunning, noon, 3, strings.Repeat("it is broken ", 1000)
			j.Progress = &record.Progress{Imports: 3, UnderWay: []record.Import{{Source: j.Source, Target: j.Targets[0], Bytes: 1, Total: 2, Rate: 3}}}
		}
		return s, err
	}
	runs := make([]record.JobRun, jobRuns)
	for i := range runs {
		runs[i] = record.JobRun{Run: record.Run{Started: noon.Add(time.Duration(-i) * time.Minute), Error: strings.Repeat("x", 400)}, Actions: make([]record.Action, 200)}
		for k := range runs[i].Actions {
			runs[i].Actions[k] = record.Action{Source: strings.Repeat("s", 80), Target: strings.Repeat("t", 80), Digest: strings.Repeat("d", 71), Was: strings.Repeat("d", 71), Error: strings.Repeat("e", 200)}
		}
	}
	address := start(t, Options{Daemon: &fake{status: status, history: func(string, int) ([]record.JobRun, error) { return runs, nil }}})
	for _, path := range []string{"/", "/?group=target", "/jobs/" + strings.Repeat("x", 100) + "/7"} {
		response, page := ask(t, "GET", "http://"+address+path, nil)
		t.Logf("%.20s: %d bytes", path, len(page))
		if response.StatusCode != 200 || len(page) > 200_000 {
			t.Errorf("%.20s: status %d, %d bytes", path, response.StatusCode, len(page))
		}
	}
}

func BenchmarkTenThousandJobs(b *testing.B) {
	for _, path := range []string{"/api/v1/status", "/api/v1/jobs", "/", "/?group=target&q=image&sort=success", "/jobs/library/image-00007"} {
		b.Run(path, func(b *testing.B) {
			s := New(Options{Daemon: &fake{status: many(10_000)}, Log: quiet()})
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1"+path, nil))
				b.ReportMetric(float64(w.Body.Len()), "bytes")
			}
		})
	}
}

// Budgets are told in UTC, in whole seconds and never too early, wherever the daemon runs.
func TestBudgetTimes(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 1, time.FixedZone("", 3600))
	s := record.Snapshot{Now: at, Budgets: []record.Budget{{RetryAt: at}, {}}}
	complete(&s)
	if got := s.Budgets[0].RetryAt.Format(time.RFC3339Nano); got != "2026-11-23T11:00:01Z" || !s.Budgets[1].RetryAt.IsZero() {
		t.Errorf("%s, %s", got, s.Budgets[1].RetryAt)
	}
}
