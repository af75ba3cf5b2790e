package wire

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/draysync/dray/internal/dial"
)

// dialer connects. For hosts that the registry has led to, it refuses addresses that only this machine reaches. It checks the address that
// it connects to, not the one that an earlier lookup gave.
type dialer struct {
	home string
	// connect is [dial.Connect].
	connect func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error)
	// environment returns the environment's proxy for a request; nil for none.
	environment func(*http.Request) (*url.URL, error)
	proxies     dial.Proxies
	// local is set once the registry itself was found at such an address; then it may lead there.
	local atomic.Bool
}

func newDialer(home string) *dialer {
	return &dialer{home: home, environment: http.ProxyFromEnvironment, connect: dial.Connect}
}

// proxy returns the proxy for a request.
func (d *dialer) proxy(req *http.Request) (*url.URL, error) {
	proxy, err := d.environment(req)
	if proxy != nil {
		d.proxies.Note(proxy)
	}
	return proxy, err //nolint:wrapcheck // it names the variable
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := dial.Await(ctx); err != nil {
		return nil, err
	}
	plain := dial.Dialer()
	if d.proxies.Has(address) {
		conn, err := d.connect(ctx, &plain, network, address)
		return d.proxies.Limit(address, conn, err)
	}
	home := bare("https", address) == bare("https", d.home) || bare("http", address) == bare("http", d.home)
	if home {
		conn, err := d.connect(ctx, &plain, network, address)
		if err == nil && onlyHere(addressOf(conn.RemoteAddr().String())) {
			d.local.Store(true)
		}
		return conn, err
	}
	guarded := plain
	guarded.Control = func(_, address string, _ syscall.RawConn) error {
		if onlyHere(addressOf(address)) && !d.local.Load() {
			return &strayError{d.home, address}
		}
		return nil
	}
	return d.connect(ctx, &guarded, network, address)
}

// strayError reports that a registry leads to a forbidden address.
type strayError struct{ home, address string }

// Error names the address.
func (e *strayError) Error() string {
	return fmt.Sprintf("%s leads to an address of this machine, %s, which is not allowed", e.home, e.address)
}

// metadata are addresses at which clouds serve a machine's secrets, beside the link-local ones: Amazon's over IPv6, Google's over IPv6,
// Alibaba's, and Azure's.
var metadata = []string{"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16"}

// onlyHere reports whether only this machine reaches an address.
func onlyHere(ip net.IP) bool {
	return ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsUnspecified() || slices.Contains(metadata, ip.String())
}
