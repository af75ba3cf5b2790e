package wire

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Allowed checks a URL that a registry or its token server names, and returns it as it must be requested. A registry with TLS must not lead
// out of TLS, and a remote one must not lead to this machine or to addresses that only this machine reaches, such as those at which clouds
// serve credentials.
//
// A URL of the registry itself, however its host is spelled, gets the registry's own scheme and port: proxies write http for https, and
// default ports, into its Location and Link headers.
func (t *Transport) Allowed(u *url.URL) (*url.URL, error) {
	next := *u
	next.User, next.Fragment, next.RawQuery = nil, "", EscapedQuery(u.RawQuery)
	ours := t.schemeOf(t.host)
	home := bare(ours, u.Host) == bare(ours, t.host)
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("a URL with the scheme %q is not allowed", Clean(u.Scheme))
	case home:
		next.Scheme, next.Host = ours, t.host
	case t.isPlain(u.Host):
		next.Scheme = "http"
	case u.Scheme == "http" && ours == "https":
		return nil, fmt.Errorf("%s leads to %s without TLS, which is not allowed", t.host, ShownHost(u.Host))
	}
	if !home && local(u.Host) && !local(t.host) && !t.dialer.local.Load() {
		return nil, fmt.Errorf("%s leads to an address of this machine, %s, which is not allowed", t.host, ShownHost(u.Host))
	}
	return &next, nil
}

// EscapedQuery escapes what a query in a Link or a Location may not have and has all the same, such as blanks: sent as they are, they would end the
// request line. Ampersands that a proxy has escaped as in HTML separate parameters again.
func EscapedQuery(raw string) string {
	var b strings.Builder
	raw = strings.ReplaceAll(raw, "&amp;", "&")
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(raw[i])
	}
	return b.String()
}

var hostForm = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?$`)

// ShownHost returns the host of a URL that a registry names, for a message: what is no name of a host could be anything, such as a query.
func ShownHost(host string) string {
	if !hostForm.MatchString(host) {
		return "a host without a valid name"
	}
	return Clean(host)
}

// schemeOf returns the scheme for a host of the registry.
func (t *Transport) schemeOf(host string) string {
	if t.isPlain(host) || t.plainHTTP && host == t.host {
		return "http"
	}
	return "https"
}

// local reports whether a host is by its name this machine, or one that only this machine reaches. What a name resolves to is checked on
// connecting. Behind a proxy, the proxy resolves all names.
func local(host string) bool {
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: host}}); err == nil && proxy != nil {
		return false
	}
	return Loopback(host) || onlyHere(addressOf(host))
}
