package metrics_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/record"
)

func TestExposition(t *testing.T) {
	got, golden := scrape(t, filled(t)), filepath.Join("testdata", "exposition.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestBuildInfo(t *testing.T) {
	want := `dray_build_info{goversion="` + runtime.Version() + `",version="1.2.3"} 1`
	if text := get(t, metrics.New("1.2.3").Handler()).Body.String(); !strings.Contains(text, want) {
		t.Errorf("no %s", want)
	}
}

func TestLint(t *testing.T) {
	problems, err := promlint.New(get(t, shared(t).Handler()).Body).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestReloaded(t *testing.T) {
	const good, at = "dray_config_last_reload_successful", "dray_config_last_reload_success_timestamp_seconds"
	m := metrics.New("")
	steps := []struct {
		name string
		err  error
		want []string
	}{
		{"taken over", nil, []string{at + " 1.7954352e+09", good + " 1"}},
		{"rejected", errors.New("line 3"), []string{at + " 1.7954352e+09", good + " 0"}},
		{"good again", nil, []string{at + " 1.79543532e+09", good + " 1"}},
	}
	if diff := cmp.Diff([]string{at + " 0", good + " 0"}, series(t, m, "dray_config")); diff != "" {
		t.Error("before the first: " + diff)
	}
	for i, s := range steps {
		m.Reloaded(noon.Add(time.Duration(i)*time.Minute), s.err)
		if diff := cmp.Diff(s.want, series(t, m, "dray_config")); diff != "" {
			t.Error(s.name + ": " + diff)
		}
	}
}

func TestHandler(t *testing.T) {
	m := filled(t)
	m.Handler() // another one is no mistake
	plain := get(t, m.Handler())
	if kind := plain.Header().Get("Content-Type"); !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Errorf("content type %s", kind)
	}
	for _, name := range []string{"go_goroutines ", "process_start_time_seconds ", `promhttp_metric_handler_errors_total{cause="gathering"} 0`} {
		if !strings.Contains(plain.Body.String(), "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
	packed := get(t, m.Handler(), "Accept-Encoding", "gzip", "Accept", "application/openmetrics-text; version=1.0.0")
	if kind := packed.Header().Get("Content-Type"); !strings.HasPrefix(kind, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("content type %s", kind)
	}
	if text := gunzip(t, packed.Body.Bytes()); !strings.HasSuffix(text, "\n# EOF\n") || strings.Contains(text, "_created") {
		t.Errorf("no OpenMetrics, or with synthetic samples:\n%s", text)
	}
}

// TestNoGlobals: two in one process know nothing of one another.
func TestNoGlobals(t *testing.T) {
	filled(t)
	if lines := series(t, metrics.New(""), "{"); len(lines) > 0 {
		t.Errorf("new metrics have %q", lines)
	}
}

func TestConcurrency(t *testing.T) {
	m := metrics.New("", "copy")
	handler := m.Handler()
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 200 {
				name := jobName(i % 3)
				m.Scheduled(record.JobStatus{Job: name, Due: noon, Failures: i})
				m.Ran(mirror.Result{Job: name, Outcomes: outcomes()})
				request(t, m, jobName(i), http.MethodGet, 200)
				m.Reloaded(noon, nil)
				if i%5 == worker {
					m.Removed(name)
				}
				if i%20 == 0 {
					get(t, handler)
				}
			}
		})
	}
	group.Wait()
	for i := range 3 {
		m.Removed(jobName(i))
	}
	if lines := series(t, m, "job="); len(lines) > 0 {
		t.Errorf("left over: %q", lines)
	}
	if diff := cmp.Diff([]string{"dray_imported_bytes_total{engine=\"copy\"} 8.598324e+11"}, series(t, m, `dray_imported_bytes_total{engine="copy"}`)); diff != "" {
		t.Error(diff)
	}
}

// slow is a client that reads nothing until it is let go.
type slow struct {
	header  http.Header
	writing chan<- struct{}
	wait    <-chan struct{}
}

func (s *slow) Header() http.Header { return s.header }
func (s *slow) WriteHeader(int)     {}
func (s *slow) Write(p []byte) (int, error) {
	s.writing <- struct{}{}
	<-s.wait
	return len(p), nil
}

// TestSlowClients: they take no place of others.
func TestSlowClients(t *testing.T) {
	handler := filled(t).Handler()
	writing, wait := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			handler.ServeHTTP(&slow{http.Header{}, writing, wait}, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		})
		<-writing // one at a time: of several at once some would be refused
	}
	get(t, handler)
	close(wait)
	group.Wait()
}
