package metrics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/draysync/dray/internal/record"
)

// maxRegistries is how many registries have a label value of their own.
const maxRegistries = 100

// other is the value of a label whose values are bounded, for all beyond the bound.
const other = "other"

// Transport counts the requests that pass through next, as those of registry, which is its name in the config: of the registry that is
// spoken to, also where it redirects or has its tokens elsewhere.
func (m *Metrics) Transport(registry string, next http.RoundTripper) http.RoundTripper {
	return &transport{metrics: m, use: m.useOf(label(registry)), next: next}
}

// useOf returns what is counted of a registry, under a label value that is its own or, beyond the bound, that of all others.
func (m *Metrics) useOf(registry string) *use {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.registries[registry]
	if !ok && len(m.registries) >= maxRegistries {
		registry = other
		u, ok = m.registries[registry]
	}
	if !ok {
		u = &use{name: registry}
		m.registries[registry] = u
	}
	return u
}

// Registries returns how the requests to each registry have fared, sorted by name.
func (m *Metrics) Registries() []record.RegistryUse {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]record.RegistryUse, 0, len(m.registries))
	for _, name := range slices.Sorted(maps.Keys(m.registries)) {
		list = append(list, m.registries[name].record())
	}
	return list
}

// use is how the requests to one registry have fared.
type use struct {
	name string

	mu                         sync.Mutex
	requests, errors, inFlight int64
	failure                    string
	failedAt                   time.Time
}

func (u *use) record() record.RegistryUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	return record.RegistryUse{Registry: u.name, Requests: u.requests, Errors: u.errors, InFlight: u.inFlight, Failure: u.failure, FailedAt: u.failedAt}
}

func (u *use) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests++
	u.inFlight++
}

// end counts how a request has fared; failure is empty unless it failed.
func (u *use) end(failure string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.inFlight--
	if failure != "" {
		u.errors++
		u.failure, u.failedAt = failure, time.Now()
	}
}

type transport struct {
	metrics *Metrics
	use     *use
	next    http.RoundTripper
}

// RoundTrip counts the request once its answer has begun, or none will come.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.use.begin()
	resp, err := t.next.RoundTrip(req)
	code, failure := "error", ""
	switch {
	case err == nil:
		code = codeLabel(resp.StatusCode)
		if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
			failure = fmt.Sprintf("%s: %s %s", methodLabel(req.Method), code, http.StatusText(resp.StatusCode))
		}
	case !errors.Is(err, context.Canceled): // dray has given it up
		failure = record.Text(fmt.Sprintf("%s: %v", methodLabel(req.Method), err))
	}
	t.use.end(failure)
	t.metrics.requests.WithLabelValues(t.use.name, methodLabel(req.Method), code).Inc()
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
