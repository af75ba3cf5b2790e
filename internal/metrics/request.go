package metrics

import (
	"net/http"
	"strconv"
)

// maxRegistries is how many registries have a label value of their own.
const maxRegistries = 100

// other is the value of a label whose values are bounded, for all beyond the bound.
const other = "other"

// Transport counts the requests that pass through next, as those of registry, which is its name in the config: of the registry that is
// spoken to, also where it redirects or has its tokens elsewhere.
func (m *Metrics) Transport(registry string, next http.RoundTripper) http.RoundTripper {
	return &transport{metrics: m, registry: m.bounded(label(registry)), next: next}
}

// bounded returns the label value of a registry.
func (m *Metrics) bounded(registry string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.registries[registry]; ok {
		return registry
	}
	if len(m.registries) >= maxRegistries {
		return other
	}
	m.registries[registry] = struct{}{}
	return registry
}

type transport struct {
	metrics  *Metrics
	registry string
	next     http.RoundTripper
}

// RoundTrip counts the request once its answer has begun, or none will come.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	code := "error"
	if err == nil {
		code = codeLabel(resp.StatusCode)
	}
	t.metrics.requests.WithLabelValues(t.registry, methodLabel(req.Method), code).Inc()
	return resp, err
}

// CloseIdleConnections is for those who close the transport below without knowing that it is wrapped.
func (t *transport) CloseIdleConnections() {
	if closer, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

func methodLabel(method string) string {
	switch method {
	case "":
		return http.MethodGet
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return method
	}
	return other
}

// codeLabel takes a status for what it says only where it is one of HTTP: a registry may answer anything.
func codeLabel(status int) string {
	if status < 100 || status > 599 {
		return other
	}
	return strconv.Itoa(status)
}
