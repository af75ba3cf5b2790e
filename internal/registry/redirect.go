package registry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
)

// firstOf returns the request that led, by redirects, to another.
func firstOf(req *http.Request) *http.Request {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req
}

// withoutCredential takes the credential off a request to which a registry has redirected elsewhere. net/http leaves it on where
// only the port is another.
func withoutCredential(req *http.Request) *http.Request {
	if firstOf(req).URL.Host == req.URL.Host || req.Header.Get("Authorization") == "" {
		return req
	}
	req = req.Clone(req.Context())
	req.Header.Del("Authorization")
	return req
}

// guardTarget refuses to send a request where its registry or token server must not lead it: a request for a token with a credential to
// another host or out of TLS, whatever the redirect's status, and one of an upload as [transport.guardLocation] has it.
func (t *transport) guardTarget(req *http.Request) error {
	if uploadOf(req) != nil {
		return t.guardLocation(req, req.URL)
	}
	if !tokenRequest(req) || req.Response == nil {
		return nil
	}
	first := firstOf(req)
	if first.URL.Host == req.URL.Host && (first.URL.Scheme == req.URL.Scheme || req.URL.Scheme == "https") {
		return nil
	}
	var body []byte
	if first.GetBody != nil {
		if again, err := first.GetBody(); err == nil {
			body, _ = io.ReadAll(io.LimitReader(again, maxReplay)) // of memory
		}
	}
	if _, signed := credentialKey(first, body); !signed {
		return nil
	}
	return refusedTo(req, first.URL.Host, req.URL, "the request for a token is redirected to")
}

// guardLocation refuses a place for an upload that its registry must not name: another host without TLS, where the registry itself has
// TLS, or an address of this machine or link, where the registry is none. Its own host is spoken to with TLS, whatever the Location says.
func (t *transport) guardLocation(req *http.Request, location *url.URL) error {
	if location.Host == t.host {
		return nil
	}
	_, plain := t.plain.Load(t.host)
	if location.Scheme != "https" && !plain && !t.plainHTTP || local(req.Context(), location.Host) && !local(req.Context(), t.host) {
		return refusedTo(req, t.host, location, "the upload is led to")
	}
	return nil
}

func refusedTo(req *http.Request, host string, to *url.URL, what string) *Error {
	return &Error{
		Host: host, Operation: operation(req), Attempts: 1, plain: true, Message: what + " " + clean(to.Scheme+"://"+to.Host) + "; not allowed, and not followed",
		cause: permanentError{errors.New("refused to follow")},
	}
}

// local tells whether a host is an address of this machine or link, by its name or by what the name stands for. It is what regclient's
// guard of redirects goes by.
func local(ctx context.Context, hostPort string) bool {
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: hostPort}}); err == nil && proxy != nil {
		return false // the proxy looks the name up
	}
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, (&url.URL{Host: hostPort}).Hostname())
	if err != nil {
		return false // a request will say so
	}
	for _, a := range addresses {
		if a.IP.IsLoopback() || a.IP.IsLinkLocalUnicast() || a.IP.IsLinkLocalMulticast() || a.IP.IsUnspecified() {
			return true
		}
	}
	return false
}
