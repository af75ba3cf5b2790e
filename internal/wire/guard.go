package wire

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Allowed returns a URL to which a registry or its token server has led, as it is to be asked. A registry that speaks TLS leads out of it
// to nowhere, and one elsewhere leads neither to this machine nor to addresses that only this machine reaches, such as those where clouds
// hand out credentials.
//
// A URL of the registry itself, however its host is spelled, is spoken to as the registry is: proxies write http into its Locations and Links
// where it is https, and ports that need not be named.
func (t *Transport) Allowed(ctx context.Context, u *url.URL) (*url.URL, error) {
	place := *u
	place.User, place.Fragment = nil, ""
	ours := t.schemeOf(t.host)
	home := bare(ours, u.Host) == bare(ours, t.host)
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("a URL with the scheme %q is not allowed", Clean(u.Scheme))
	case home:
		place.Scheme, place.Host = ours, t.host
	case t.isPlain(u.Host):
		place.Scheme = "http"
	case u.Scheme == "http" && ours == "https":
		return nil, fmt.Errorf("%s leads to %s without TLS, which is not allowed", t.host, Clean(u.Host))
	}
	if !home && t.local(ctx, u.Host) && !t.local(ctx, t.host) {
		return nil, fmt.Errorf("%s leads to an address of this machine, %s, which is not allowed", t.host, Clean(u.Host))
	}
	return &place, nil
}

// schemeOf is how a host is spoken to that the registry has.
func (t *Transport) schemeOf(host string) string {
	if t.isPlain(host) || t.plainHTTP && host == t.host {
		return "http"
	}
	return "https"
}

const (
	lookupTimeout = 5 * time.Second
	maxLookups    = 1000
)

// local tells whether a host is this machine, or one that nobody else reaches in this way. Behind a proxy names are the proxy's to look up.
func (t *Transport) local(ctx context.Context, host string) bool {
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: host}}); err == nil && proxy != nil {
		return false
	}
	if Loopback(host) {
		return true
	}
	if ip := addressOf(host); ip != nil {
		return onlyHere(ip)
	}
	return t.lookups.local(ctx, hostname(host))
}

func onlyHere(ip net.IP) bool {
	return ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsUnspecified()
}
