package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRace: addresses that do not answer do not take the time of one that does, and what is not used is closed.
func TestRace(t *testing.T) {
	for name, c := range map[string]struct {
		addresses string
		want      string // the address, or the error
		at        time.Duration
		open      int64 // connections that are closed again
	}{
		"one":                         {"good", "good", 0, 0},
		"dead ones first":             {"dead dead dead dead dead dead good", "good", 6 * headStart, 0},
		"thirty dead ones first":      {strings.Repeat("dead ", 30) + "good", "good", 30 * headStart, 0},
		"refused ones first":          {"no no no no no no good", "good", 0, 0},
		"a refused one after a dead":  {"dead no good", "good", headStart, 0},
		"a slow one":                  {"slow", "slow", 3 * headStart / 2, 0},
		"a slow one before another":   {"slow good", "good", headStart, 1},
		"a slow one before a refused": {"slow no", "slow", 3 * headStart / 2, 0},
		"all dead":                    {"dead dead", "i/o timeout", Timeout, 0},
		"all refused":                 {"no no", "refused no", 0, 0},
		"dead, and then refused":      {"dead no", "refused no", Timeout, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var closed atomic.Int64
				ctx, cancel := context.WithTimeout(t.Context(), Timeout)
				defer cancel()
				begun := time.Now()
				conn, err := race(ctx, strings.Fields(c.addresses), func(ctx context.Context, address string) (net.Conn, error) {
					switch address {
					case "no":
						return nil, errors.New("refused no")
					case "dead":
						<-ctx.Done()
						return nil, errors.New("i/o timeout")
					case "slow":
						time.Sleep(3 * headStart / 2) // and is not ended
					}
					return &named{name: address, closed: &closed}, nil
				})
				got := fmt.Sprint(err)
				if err == nil {
					got = conn.(*named).name //nolint:forcetypeassert // it is one
				}
				if took := time.Since(begun); got != c.want || took != c.at {
					t.Errorf("%s after %s, want %s after %s", got, took, c.want, c.at)
				}
				time.Sleep(Timeout)
				if n := closed.Load(); n != c.open {
					t.Errorf("%d connections are closed, want %d", n, c.open)
				}
			})
		})
	}
}

type named struct {
	net.Conn
	name   string
	closed *atomic.Int64
}

// Close implements net.Conn.
func (n *named) Close() error { n.closed.Add(1); return nil }

// TestInterleaved: both families come by turns, and the preferred one first.
func TestInterleaved(t *testing.T) {
	var found []net.IPAddr
	for _, text := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "fe80::1"} {
		found = append(found, net.IPAddr{IP: net.ParseIP(text)})
	}
	found[4].Zone = "eth0"
	if got, want := interleaved(found), strings.Fields("2001:db8::1 192.0.2.1 2001:db8::2 2001:db8::3 fe80::1%eth0"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := interleaved(slices.Repeat(found, 1000)); len(got) != maxAddresses && len(got) != maxAddresses+1 {
		t.Errorf("%d addresses", len(got))
	}
	if got := interleaved(nil); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestTransport connects to a name and to an address, and says what a name that is none is.
func TestTransport(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	transport := Transport(nil)
	defer transport.CloseIdleConnections()
	get := func(to string) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	for _, to := range []string{server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)} {
		if err := get(to); err != nil {
			t.Error(err)
		}
	}
	if err := get("http://a..b"); err == nil || err.Error() != "dial tcp: lookup a..b: no such host" {
		t.Error(err)
	}
}

// TestSocks: the conversation with a SOCKS proxy ends, and what comes after it does not.
func TestSocks(t *testing.T) {
	for name, user := range map[string]*url.Userinfo{"without a user": nil, "with a user": url.UserPassword("ann", "s3cret")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var proxies Proxies
				proxy := &url.URL{Scheme: "socks5", Host: "192.0.2.9", User: user}
				proxies.Note(proxy)
				silent := true
				var open atomic.Int64
				transport := &http.Transport{
					Proxy: http.ProxyURL(proxy),
					DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
						near, far := net.Pipe()
						open.Add(1)
						go func() {
							speak(far, silent)
							open.Add(-1)
						}()
						return proxies.Limit(address, near, nil)
					},
				}
				defer transport.CloseIdleConnections()
				ask := func() error {
					ctx, cancel := context.WithTimeout(t.Context(), 2*socksTimeout)
					defer cancel()
					r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://r.example/", nil)
					if err != nil {
						t.Fatal(err)
					}
					resp, err := transport.RoundTrip(r)
					if err == nil {
						_ = resp.Body.Close()
					}
					return err
				}
				begun := time.Now()
				err := ask()
				synctest.Wait()
				if took := time.Since(begun); err == nil || took != socksTimeout || open.Load() != 0 {
					t.Errorf("a silent proxy: %v after %s, %d connections are open", err, took, open.Load())
				}
				silent = false
				if err := ask(); err != nil { // the answer takes longer than the proxy may
					t.Error(err)
				}
			})
		})
	}
}

// speak is a SOCKS proxy, and the server behind it, which is slow.
func speak(conn net.Conn, silent bool) {
	defer conn.Close()
	read := func(n int) []byte {
		p := make([]byte, n)
		_, _ = io.ReadFull(conn, p)
		return p
	}
	if silent {
		_, _ = io.Copy(io.Discard, conn)
		return
	}
	methods := read(int(read(2)[1]))
	_, _ = conn.Write([]byte{5, methods[len(methods)-1]})
	if methods[len(methods)-1] == 2 {
		read(int(read(int(read(2)[1]) + 1)[3]))
		_, _ = conn.Write([]byte{1, 0})
	}
	read(int(read(5)[4]) + 2)
	_, _ = conn.Write([]byte{5, 0, 0, 1, 192, 0, 2, 1, 0, 80})
	go io.Copy(io.Discard, conn) // until it is closed
	time.Sleep(socksTimeout * 3 / 2)
	_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
}

// TestProxies: the port of a proxy is that of its scheme.
func TestProxies(t *testing.T) {
	var proxies Proxies
	for _, text := range []string{"http://a", "https://b", "socks5h://c", "socks5://[2001:db8::1]:9"} {
		proxy, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		proxies.Note(proxy)
	}
	for _, address := range []string{"a:80", "b:443", "c:1080", "[2001:db8::1]:9"} {
		if !proxies.Has(address) {
			t.Errorf("%s is not known", address)
		}
	}
	if proxies.Has("a:443") {
		t.Error("a:443 is known")
	}
}

// TestAwait: the sending of a request makes five connections at once and then one a second, until it ends.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sending, ends := context.WithCancel(t.Context())
		sending = Budget(sending)
		outlives := context.WithoutCancel(sending)
		begun := time.Now()
		for i, want := range []time.Duration{0, 0, 0, 0, 0, pause, 2 * pause, 3 * pause} {
			if err := Await(outlives); err != nil || time.Since(begun) != want {
				t.Errorf("connection %d after %s, %v", i+1, time.Since(begun), err)
			}
		}
		if n := Connections(sending); n != 8 {
			t.Errorf("%d connections", n)
		}
		ends()
		if _, err := Transport(nil).DialContext(outlives, "tcp", "192.0.2.1:443"); !errors.Is(err, context.Canceled) || time.Since(begun) != 3*pause {
			t.Errorf("after its end: %v after %s", err, time.Since(begun))
		}
		if err := Await(t.Context()); err != nil || Connections(t.Context()) != 0 {
			t.Errorf("without a budget: %v", err)
		}
	})
}
