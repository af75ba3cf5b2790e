package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// CheckProxies returns an error if a variable of the environment is not the URL of a proxy. net/http would use none then, or one that is
// not there, and say nothing. The error does not have the value, which may hold a password.
func CheckProxies(getenv func(string) string) error {
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
		if getenv(name) == "" {
			name = strings.ToLower(name)
		}
		if text := getenv(name); text != "" && !isProxy(text) {
			return fmt.Errorf("%s is not the URL of a proxy: write http://HOST:PORT (or https, socks5, socks5h), without quotes; in a user or a password write characters such as # / ? %% as %%23 %%2F %%3F %%25", name)
		}
	}
	return nil
}

// isProxy reports whether a text is the URL of a proxy. net/http puts http:// before one that it cannot parse, so that a password with a
// slash makes a proxy called http.
func isProxy(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" {
		if u, err = url.Parse("http://" + text); err != nil {
			return false
		}
	}
	schemes := []string{"http", "https", "socks5", "socks5h"}
	return slices.Contains(schemes, u.Scheme) && u.Host != "" && !slices.Contains(schemes, u.Hostname()) && !strings.ContainsAny(u.Hostname(), "\"'`<>(){}$&=,; ")
}

// through returns the proxy of a request; nil for none.
func (t *Transport) through(req *http.Request) *url.URL {
	to := *req.URL
	if to.Host == t.host || t.isPlain(to.Host) {
		to.Scheme = t.schemeOf(to.Host)
	}
	proxy, err := t.dialer.environment(&http.Request{URL: &to})
	if err != nil {
		return nil
	}
	return proxy
}

// byProxy says through which proxy a request has failed; empty for none, and where the error names it or the request was not sent.
func (t *Transport) byProxy(req *http.Request, err error) string {
	_, refused := errors.AsType[*proxyError](err)
	_, astray := errors.AsType[*strayError](err)
	proxy := t.through(req)
	if proxy == nil || refused || astray || toProxy(err) || req.Context().Err() != nil {
		return ""
	}
	return ", through the proxy at " + Clean(proxy.Host)
}

// toProxy reports whether the connection to a proxy has failed, and not one through it.
func toProxy(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "proxyconnect"
}

// proxyHint says what to do about a proxy that cannot be connected to.
func (t *Transport) proxyHint(req *http.Request, err error) string {
	place := "the proxy"
	if proxy := t.through(req); proxy != nil {
		place += " at " + Clean(proxy.Host)
	}
	text := tlsHint(err)
	switch {
	case speaksPlain(err):
		return place + " does not use TLS: write http:// in HTTPS_PROXY"
	case text != "":
		return place + ": " + text
	case strings.Contains(err.Error(), "no such host"):
		return "the name of " + place + " is not known: check HTTPS_PROXY"
	}
	return place + " cannot be reached: check HTTPS_PROXY"
}

// proxyError is a proxy's refusal to connect.
type proxyError struct {
	proxy  string
	status int
	// signed is set if the proxy got a user and a password.
	signed bool
}

// Error returns the proxy and its answer.
func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy at %s answered %d %s", e.proxy, e.status, http.StatusText(e.status))
}

func (e *proxyError) hint() string {
	switch {
	case e.status == http.StatusProxyAuthRequired && e.signed:
		return "check the user and the password in HTTPS_PROXY"
	case e.status == http.StatusProxyAuthRequired:
		return "put a user and a password into HTTPS_PROXY"
	case e.status == http.StatusForbidden, e.status == http.StatusMethodNotAllowed:
		return "have the proxy allow the host, or name the host in NO_PROXY"
	}
	return ""
}

// proxyAnswer handles the answer of a proxy to CONNECT.
func proxyAnswer(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{proxy.Host, resp.StatusCode, proxy.User != nil}
}
