package metrics_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// filled returns metrics in which every series that there can be is there once.
func filled(t testing.TB) *metrics.Metrics {
	t.Helper()
	m := metrics.New("1.2.3", "copy")
	m.Reloaded(noon, nil)
	m.Reloaded(noon.Add(time.Minute), errors.New("dray.yaml:3:1: unknown key"))
	m.Scheduled(record.JobStatus{Job: "alpine", Due: noon.Add(time.Hour), LastSuccess: noon.Add(1500 * time.Millisecond), Deadline: noon.Add(2 * time.Hour)})
	m.Scheduled(record.JobStatus{Job: "debian", Failures: 3, Paused: &record.Pause{}})
	m.Ran(mirror.Result{Job: "alpine", Outcomes: outcomes()})
	for _, code := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests, 0} {
		request(t, m, "docker.io", http.MethodGet, code)
	}
	return m
}

// shared returns the same of a process that shares its work.
func shared(t testing.TB) *metrics.Metrics {
	t.Helper()
	m := filled(t)
	m.Sharing(func() metrics.Sharing { return metrics.Sharing{Replicas: 3, Up: true, Decides: true} })
	l := m.Ledger()
	l.Asked("renew", time.Millisecond)
	l.Waited("tag")
	return m
}

// outcomes are one of each kind, and a second import.
func outcomes() []mirror.Outcome {
	made := func(took time.Duration, bytes, mounted int64) mirror.Outcome {
		return mirror.Outcome{
			Action: diff.Action{Op: diff.Import, Reason: diff.Absent}, Engine: "copy", Status: record.Imported,
			Cost: mirror.Cost{Pulls: 1, Bytes: bytes, Mounted: mounted}, Duration: took,
		}
	}
	failed := made(2*time.Hour, 100, 0)
	failed.Reason, failed.Status = diff.Moved, record.Failed
	deferred := made(time.Hour, 0, 0)
	deferred.Status = record.Deferred
	declined := made(time.Hour, 0, 0)
	declined.Op, declined.Reason, declined.Status = diff.Refuse, diff.Unsupported, record.Refused
	return []mirror.Outcome{
		{Action: diff.Action{Op: diff.Keep, Reason: diff.Unchanged}, Status: record.Kept, Cost: mirror.Cost{Bytes: 7}},
		{Action: diff.Action{Op: diff.Refuse, Reason: diff.Unobserved}, Status: record.Failed},
		made(400*time.Millisecond, 1<<20, 1<<22), made(50*time.Second, 1<<30, 0), failed, deferred, declined,
	}
}

// request sends one request of which the answer has that code, or none for 0.
func request(t testing.TB, m *metrics.Metrics, registry, method string, code int) {
	t.Helper()
	carrier := m.Transport(registry, tripper(func(*http.Request) (*http.Response, error) {
		if code == 0 {
			return nil, errors.New("connection refused")
		}
		return &http.Response{StatusCode: code, Body: http.NoBody}, nil
	}))
	resp, err := carrier.RoundTrip(&http.Request{Method: method})
	if (err != nil) != (code == 0) || err == nil && resp.StatusCode != code {
		t.Errorf("code %d: %v, %v", code, resp, err)
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// get asks the handler; header is a list of names and values.
func get(t testing.TB, h http.Handler, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		t.Fatalf("answer %d: %s", rec.Code, rec.Body)
	}
	return rec
}

// scrape returns the lines about metrics of dray, but for dray_build_info.
func scrape(t testing.TB, m *metrics.Metrics) string {
	t.Helper()
	var kept strings.Builder
	for line := range strings.Lines(get(t, m.Handler()).Body.String()) {
		if strings.Contains(line, "dray_") && !strings.Contains(line, "dray_build_info") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// series returns the lines of the scrape that have a value, and that part.
func series(t testing.TB, m *metrics.Metrics, part string) (lines []string) {
	t.Helper()
	for line := range strings.Lines(scrape(t, m)) {
		if !strings.HasPrefix(line, "#") && strings.Contains(line, part) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func gunzip(t testing.TB, raw []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func jobName(i int) string { return fmt.Sprintf("mirror-of-some-image-%05d", i) }
