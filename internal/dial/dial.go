// Package dial connects to hosts. It shares the time among the addresses of a host, and limits how long a SOCKS proxy may take.
package dial

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// Timeout limits the lookup of a name and the connecting to its addresses.
	Timeout = 10 * time.Second
	// headStart is how long an address is waited for before the next one is tried beside it (RFC 8305, section 5, "Connection Attempt Delay").
	headStart = 250 * time.Millisecond
	// maxAddresses is the most addresses of a host that are tried.
	maxAddresses = 40
	// keepAlive is the time between the probes of a connection that is not used.
	keepAlive = 30 * time.Second
)

// Dialer returns a dialer with the package's timeout.
func Dialer() net.Dialer { return net.Dialer{Timeout: Timeout, KeepAlive: keepAlive} }

// Connect is d.DialContext, but it tries the addresses of a host side by side, one after another with a head start each. A [net.Dialer] gives each of them
// two seconds or more, one by one, so that a few that do not answer take all the time.
func Connect(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if _, literal := netip.ParseAddr(host); err != nil || literal == nil || host == "" {
		return d.DialContext(ctx, network, address)
	}
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err == nil && len(found) == 0 {
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return race(ctx, interleaved(found), func(ctx context.Context, address string) (net.Conn, error) {
		return d.DialContext(ctx, network, net.JoinHostPort(address, port))
	})
}

// interleaved returns addresses in their order, but of both families by turns, so that none waits for all of the other.
func interleaved(found []net.IPAddr) []string {
	var first, second []string
	for _, a := range found {
		if (a.IP.To4() == nil) == (found[0].IP.To4() == nil) {
			first = append(first, a.String())
		} else {
			second = append(second, a.String())
		}
	}
	var all []string
	for i := 0; len(all) < min(len(found), maxAddresses); i++ {
		all = append(all, first[min(i, len(first)):min(i+1, len(first))]...)
		all = append(all, second[min(i, len(second)):min(i+1, len(second))]...)
	}
	return all
}

type result struct {
	conn net.Conn
	err  error
}

// race returns the first connection to any of the addresses, or the first error if there is none. The next address is tried when the one before has failed, or
// its head start is over.
func race(ctx context.Context, addresses []string, dial func(ctx context.Context, address string) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result, len(addresses))
	next, pending := 0, 0
	timer := time.NewTimer(headStart)
	defer timer.Stop()
	start := func() {
		if next == len(addresses) {
			return
		}
		address := addresses[next]
		next++
		pending++
		timer.Reset(headStart)
		go func() {
			conn, err := dial(ctx, address)
			results <- result{conn, err}
		}()
	}
	var first error
	for start(); pending > 0; {
		select {
		case <-timer.C:
			start()
		case r := <-results:
			pending--
			if r.err == nil {
				go closeLate(results, pending)
				return r.conn, nil
			}
			if first == nil {
				first = r.err
			}
			start()
		}
	}
	return nil, first
}

// closeLate closes the connections that come too late.
func closeLate(results <-chan result, pending int) {
	for range pending {
		if r := <-results; r.err == nil {
			_ = r.conn.Close()
		}
	}
}

// Transport returns a copy of net/http's default transport that uses proxies as proxy says, and connects as [Use] does.
func Transport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // nothing replaces it
	t.Proxy = proxy
	Use(t)
	return t
}

// Use has a transport connect by [Connect], paced by [Await], and limits the time of SOCKS proxies.
func Use(t *http.Transport) {
	var proxies Proxies
	d := Dialer()
	if proxy := t.Proxy; proxy != nil {
		t.Proxy = func(r *http.Request) (*url.URL, error) {
			found, err := proxy(r)
			if err == nil && found != nil {
				proxies.Note(found)
			}
			return found, err
		}
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if err := Await(ctx); err != nil {
			return nil, err
		}
		conn, err := Connect(ctx, &d, network, address)
		return proxies.Limit(address, conn, err)
	}
}

// Proxies knows the addresses of the proxies in use. The zero value knows none.
type Proxies struct{ known sync.Map } // address → whether it speaks SOCKS

// Note takes in a proxy.
func (p *Proxies) Note(proxy *url.URL) {
	usual := map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
	p.known.Store(net.JoinHostPort(proxy.Hostname(), cmp.Or(proxy.Port(), usual, "80")), strings.HasPrefix(proxy.Scheme, "socks"))
}

// Has reports whether an address is that of a proxy.
func (p *Proxies) Has(address string) bool {
	_, ok := p.known.Load(address)
	return ok
}

// Limit returns what connecting to an address has returned. A connection to a SOCKS proxy ends if the proxy does not answer in time.
func (p *Proxies) Limit(address string, conn net.Conn, err error) (net.Conn, error) {
	if socks, _ := p.known.Load(address); err != nil || socks != true {
		return conn, err
	}
	return limited(conn), nil
}
