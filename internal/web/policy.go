package web

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// listenerPolicy is what a listener means for those who come through it. The zero value is the loopback's.
type listenerPolicy struct {
	// socket is set for a unix socket, which its file's permissions guard, and which no browser can reach.
	socket bool
	// exposed is set where others than this machine can come.
	exposed bool
	// names are those under which an exposed server may be asked, in lower case.
	names []string
}

// policyKey is the key of a connection's listenerPolicy in its context.
type policyKey struct{}

func policyOf(address net.Addr, configured string) listenerPolicy {
	switch a := address.(type) {
	case *net.UnixAddr:
		return listenerPolicy{socket: true}
	case *net.TCPAddr:
		if a.IP.IsLoopback() {
			return listenerPolicy{}
		}
	default:
		return listenerPolicy{}
	}
	p := listenerPolicy{exposed: true}
	if host, _, err := net.SplitHostPort(configured); err == nil && host != "" {
		p.names = append(p.names, strings.ToLower(host))
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		p.names = append(p.names, strings.ToLower(name))
	}
	return p
}

func policyFor(r *http.Request) listenerPolicy {
	p, _ := r.Context().Value(policyKey{}).(listenerPolicy)
	return p
}

// admits tells whether a Host is one under which this server can be meant, and that no stranger can have made to mean it. A request
// without one is no browser's.
func (p listenerPolicy) admits(host string) bool {
	if p.socket || host == "" {
		return true
	}
	name := strings.TrimSuffix(strings.ToLower(withoutPort(host)), ".")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	return p.exposed && (slices.Contains(p.names, name) || private(name))
}

// private tells whether a name is none that anybody could register.
func private(name string) bool {
	if name == "" {
		return false
	}
	if !strings.Contains(name, ".") {
		return true
	}
	for _, suffix := range []string{".internal", ".local", ".home.arpa", ".svc"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}
