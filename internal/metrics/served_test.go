package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/draysync/dray/internal/serve"
)

// TestServed: a process that serves layouts only shows what it has served, and nothing of jobs and configs.
func TestServed(t *testing.T) {
	m := NewServed("1.2.3", func() serve.Stats {
		return serve.Stats{Answers: map[serve.Answered]int64{{Kind: "blob", Status: 206}: 3, {Kind: "blob"}: 1, {Kind: "other", Status: 401}: 2}, Bytes: 4096, Connections: 7, Limit: 1024}
	})
	want := `# HELP dray_serve_connections Connections to the registry over layouts.
# TYPE dray_serve_connections gauge
dray_serve_connections 7
# HELP dray_serve_connections_limit How many connections the registry over layouts serves at once; others wait.
# TYPE dray_serve_connections_limit gauge
dray_serve_connections_limit 1024
# HELP dray_serve_requests_total Requests to the registry over layouts. The code is cut where the answer was cut off, as that of a damaged blob.
# TYPE dray_serve_requests_total counter
dray_serve_requests_total{code="206",kind="blob"} 3
dray_serve_requests_total{code="401",kind="other"} 2
dray_serve_requests_total{code="cut",kind="blob"} 1
# HELP dray_serve_sent_bytes_total Bytes that the registry over layouts has sent as bodies of answers.
# TYPE dray_serve_sent_bytes_total counter
dray_serve_sent_bytes_total 4096
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "dray_serve_connections", "dray_serve_connections_limit", "dray_serve_requests_total", "dray_serve_sent_bytes_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(m.registry, "dray_config_last_reload_successful", "dray_job_last_success_timestamp_seconds"); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := testutil.GatherAndCount(m.registry, "dray_build_info"); n != 1 || err != nil {
		t.Error(n, err)
	}
}
