package wire

import (
	"fmt"
	"net/http"
	"net/url"
)

// Allowed returns a URL to which a registry or its token server has led, as it is to be asked. A registry that speaks TLS leads out of it
// to nowhere, and one elsewhere leads neither to this machine nor to addresses that only this machine reaches, such as those where clouds
// hand out credentials.
//
// A URL of the registry itself, however its host is spelled, is spoken to as the registry is: proxies write http into its Locations and Links
// where it is https, and ports that need not be named.
func (t *Transport) Allowed(u *url.URL) (*url.URL, error) {
	next := *u
	next.User, next.Fragment = nil, ""
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
		return nil, fmt.Errorf("%s leads to %s without TLS, which is not allowed", t.host, Clean(u.Host))
	}
	if !home && local(u.Host) && !local(t.host) && !t.dialer.local.Load() {
		return nil, fmt.Errorf("%s leads to an address of this machine, %s, which is not allowed", t.host, Clean(u.Host))
	}
	return &next, nil
}

// schemeOf is how a host is spoken to that the registry has.
func (t *Transport) schemeOf(host string) string {
	if t.isPlain(host) || t.plainHTTP && host == t.host {
		return "http"
	}
	return "https"
}

// local tells whether a host is by its own words this machine, or one that nobody else reaches in this way: what a name stands for is seen when
// it is connected to. Behind a proxy all names are the proxy's to look up.
func local(host string) bool {
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: host}}); err == nil && proxy != nil {
		return false
	}
	return Loopback(host) || onlyHere(addressOf(host))
}
