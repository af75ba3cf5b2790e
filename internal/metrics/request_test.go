package metrics_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/record"
)

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name   string
		method string
		code   int
		want   string
	}{
		{"answered", http.MethodHead, 404, `code="404",method="HEAD",registry="quay.io"`},
		{"no method is GET", "", 200, `code="200",method="GET",registry="quay.io"`},
		{"unknown method", "BREW", 418, `code="418",method="other",registry="quay.io"`},
		{"no answer", http.MethodPatch, 0, `code="error",method="PATCH",registry="quay.io"`},
		{"no status of HTTP", http.MethodPut, 777, `code="other",method="PUT",registry="quay.io"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := metrics.New("")
			request(t, m, "quay.io", c.method, c.code)
			want := []string{"dray_registry_requests_total{" + c.want + "} 1"}
			if diff := cmp.Diff(want, series(t, m, "dray_registry_requests_total")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRegistriesAreBounded(t *testing.T) {
	m := metrics.New("")
	for i := range 103 {
		request(t, m, fmt.Sprintf("r%03d.example", i), http.MethodGet, 200)
	}
	request(t, m, "r000.example", http.MethodGet, 200)
	if lines := series(t, m, "dray_registry_requests_total"); len(lines) != 101 {
		t.Errorf("%d series", len(lines))
	}
	for registry, want := range map[string]string{"r000.example": "2", "r099.example": "1", "other": "3"} {
		if diff := cmp.Diff([]string{`dray_registry_requests_total{code="200",method="GET",registry="` + registry + `"} ` + want}, series(t, m, `"`+registry+`"`)); diff != "" {
			t.Error(diff)
		}
	}
}

type closing struct {
	tripper
	closed bool
}

func (c *closing) CloseIdleConnections() { c.closed = true }

func TestIdleConnectionsAreClosed(t *testing.T) {
	m, below := metrics.New(""), &closing{}
	(&http.Client{Transport: m.Transport("quay.io", m.Transport("quay.io", below))}).CloseIdleConnections()
	if !below.closed {
		t.Error("the transport below was not told")
	}
	(&http.Client{Transport: m.Transport("quay.io", below.tripper)}).CloseIdleConnections()
}

// What the status page shows of registries.
func TestRegistries(t *testing.T) {
	m := metrics.New("")
	for _, code := range []int{200, 401, 404, 503, 429, 200} {
		request(t, m, "quay.io", http.MethodGet, code)
	}
	request(t, m, "ghcr.io", http.MethodHead, 0)
	during := m.Transport("docker.io", tripper(func(*http.Request) (*http.Response, error) {
		if u := m.Registries()[0]; u.Registry != "docker.io" || u.InFlight != 1 {
			t.Errorf("during a request: %+v", u)
		}
		return nil, context.Canceled
	}))
	_, _ = during.RoundTrip(&http.Request{}) // it is given up
	got := m.Registries()
	for i := range got {
		if (got[i].Failure == "") != got[i].FailedAt.IsZero() {
			t.Errorf("%+v", got[i])
		}
		got[i].FailedAt = time.Time{}
	}
	want := []record.RegistryUse{
		{Registry: "docker.io", Requests: 1}, {Registry: "ghcr.io", Requests: 1, Errors: 1, Failure: "HEAD: connection refused"},
		{Registry: "quay.io", Requests: 6, Errors: 2, Failure: "GET: 429 Too Many Requests"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
