package registry_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
	"github.com/google/go-cmp/cmp"
)

func startProxy(t *testing.T, target string, latency time.Duration) (*registry.Proxy, caller) {
	t.Helper()
	p, err := registry.NewProxy(target, latency)
	if err != nil {
		t.Fatal(err)
	}
	s := registrytest.Start(t, p)
	return p, caller{tb: t, client: http.DefaultClient, url: s.URL}
}

func TestProxyCountsAndDelays(t *testing.T) {
	r := registry.New(registry.Options{})
	const latency = 30 * time.Millisecond
	p, c := startProxy(t, registrytest.Start(t, r).URL, latency)
	digest := r.PutBlob("a", []byte("layer"))
	start := time.Now()
	for range 3 {
		if a := c.do(http.MethodGet, "/v2/a/blobs/"+digest, ""); a.Body != "layer" {
			t.Fatalf("%+v", a)
		}
	}
	if took := time.Since(start); took < 3*latency {
		t.Errorf("three requests took %s", took)
	}
	requests := p.Requests()
	if len(requests) != 3 || requests[0].BytesOut != 5 || requests[0].Kind != registry.KindBlob || requests[0].Status != 200 {
		t.Errorf("log %+v", requests)
	}
	if n := len(r.Requests()); n != 3 {
		t.Errorf("the registry saw %d requests", n)
	}
}

func TestProxyFaults(t *testing.T) {
	r := registry.New(registry.Options{})
	p, c := startProxy(t, registrytest.Start(t, r).URL, 0)
	p.Inject(registry.Fault{Status: 503, Times: 1})
	var got []int
	for range 2 {
		got = append(got, c.do(http.MethodGet, "/v2/", "").Status)
	}
	if diff := cmp.Diff([]int{503, 200}, got); diff != "" {
		t.Error(diff)
	}
	if n := len(r.Requests()); n != 1 {
		t.Errorf("the registry saw %d requests, want 1", n)
	}
	digest := r.PutBlob("a", []byte(strings.Repeat("x", 1000)))
	p.Inject(registry.Fault{CutAt: 10, Times: 1})
	response, err := http.Get(c.url + "/v2/a/blobs/" + digest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if n, err := response.Body.Read(make([]byte, 2000)); n > 10 || err != nil && n != 10 {
		t.Errorf("read %d, %v", n, err)
	}
	p.Inject(registry.Fault{CutRequestAt: 10, Times: 1})
	if response, err := http.Post(c.url+"/v2/a/blobs/uploads/?digest="+digest, "", strings.NewReader(strings.Repeat("x", 100_000))); err == nil {
		_ = response.Body.Close()
		t.Errorf("a cut request was answered with %d", response.StatusCode)
	}
}

// A redirect to the registry's own address comes back through the proxy, one to elsewhere is left alone.
func TestProxyRewritesLocation(t *testing.T) {
	own := registry.NewGate(http.NotFoundHandler())
	s := registrytest.Start(t, own)
	_, c := startProxy(t, s.URL, 0)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c.client = client
	tests := map[string]string{
		s.URL + "/v2/x?y=z":              c.url + "/v2/x?y=z",
		"https://cdn.example.com/v2/x":   "https://cdn.example.com/v2/x",
		c.url + "/v2/x":                  c.url + "/v2/x",
		"/v2/a/blobs/uploads/1?_state=2": c.url + "/v2/a/blobs/uploads/1?_state=2",
	}
	for location, want := range tests {
		remove := own.Inject(registry.Fault{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {location}}})
		if got := c.do(http.MethodGet, "/v2/", "").Header.Get("Location"); got != want {
			t.Errorf("%s became %s, want %s", location, got, want)
		}
		remove()
	}
}

// docker-registry makes its Location from the Host header.
func TestProxyKeepsHost(t *testing.T) {
	echo := registry.NewGate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Host)) }))
	_, c := startProxy(t, registrytest.Start(t, echo).URL, 0)
	if got, want := c.do(http.MethodGet, "/", "").Body, strings.TrimPrefix(c.url, "http://"); got != want {
		t.Errorf("the registry saw the host %s, want %s", got, want)
	}
}

func TestProxyBadTarget(t *testing.T) {
	for _, target := range []string{"", "localhost:5000", "://"} {
		if _, err := registry.NewProxy(target, 0); err == nil {
			t.Errorf("%q was accepted", target)
		}
	}
	_, c := startProxy(t, "http://127.0.0.1:1", 0)
	if a := c.do(http.MethodGet, "/v2/", ""); a.Status != http.StatusBadGateway {
		t.Errorf("nobody there: %d", a.Status)
	}
}
