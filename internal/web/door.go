package web

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// door is what a listener means for those who come through it. The zero value is the loopback's.
type door struct {
	// socket is set for a unix socket, which its file's permissions guard, and which no browser can reach.
	socket bool
	// exposed is set where others than this machine can come.
	exposed bool
	// names are those under which an exposed server may be asked, in lower case.
	names []string
}

// doorKey is the key of a connection's door in its context.
type doorKey struct{}

func doorOf(address net.Addr, configured string) door {
	switch a := address.(type) {
	case *net.UnixAddr:
		return door{socket: true}
	case *net.TCPAddr:
		if a.IP.IsLoopback() {
			return door{}
		}
	default:
		return door{}
	}
	d := door{exposed: true}
	if host, _, err := net.SplitHostPort(configured); err == nil && host != "" {
		d.names = append(d.names, strings.ToLower(host))
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		d.names = append(d.names, strings.ToLower(name))
	}
	return d
}

func doorFor(r *http.Request) door {
	d, _ := r.Context().Value(doorKey{}).(door)
	return d
}

// admits tells whether a Host is one under which this server can be meant, and that no stranger can have made to mean it. A request
// without one is no browser's.
func (d door) admits(host string) bool {
	if d.socket || host == "" {
		return true
	}
	name := strings.TrimSuffix(strings.ToLower(withoutPort(host)), ".")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	return d.exposed && (slices.Contains(d.names, name) || private(name))
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
