package wire

import (
	"net/http"
	"strings"
	"sync"
)

// versions sends requests by HTTP/2 where a server has it, and by HTTP/1.1 to the hosts that have asked for that.
type versions struct {
	newest, first *http.Transport
	hosts         sync.Map // host → struct{}: wants HTTP/1.1
}

// roundTripper returns what sends single requests.
func (h Host) roundTripper(d *dialer, most int) (*versions, error) {
	newest, err := h.transport(d, most)
	if err != nil {
		return nil, err
	}
	first, err := h.transport(d, most)
	if err != nil {
		return nil, err
	}
	first.ForceAttemptHTTP2, first.HTTP2, first.Protocols = false, nil, new(http.Protocols)
	first.Protocols.SetHTTP1(true)
	return &versions{newest: newest, first: first}, nil
}

// RoundTrip implements http.RoundTripper.
func (v *versions) RoundTrip(req *http.Request) (*http.Response, error) {
	if _, ok := v.hosts.Load(req.URL.Host); ok {
		return v.first.RoundTrip(req)
	}
	resp, err := v.newest.RoundTrip(req)
	if wantsHTTP1(err) {
		v.hosts.Store(req.URL.Host, struct{}{})
	}
	return resp, err
}

// CloseIdleConnections closes unused connections.
func (v *versions) CloseIdleConnections() {
	v.newest.CloseIdleConnections()
	v.first.CloseIdleConnections()
}

// wantsHTTP1 reports whether a server has refused a request by HTTP/2 since it wants it by HTTP/1.1 (RFC 9113, section 7). net/http has no type for that.
func wantsHTTP1(err error) bool {
	return err != nil && strings.Contains(err.Error(), "HTTP_1_1_REQUIRED")
}
