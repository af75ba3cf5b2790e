package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestCheckProxies: what net/http would ignore or take for another proxy is refused, without its password.
func TestCheckProxies(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "proxy": true, "proxy:3128": true, "10.0.0.1:3128": true, ":3128": true, "http://proxy:3128/": true, "https://proxy": true, "HTTP://proxy": true,
		"socks5://proxy:1080": true, "socks5h://[2001:db8::1]:1080": true, "http://ann:s3cr%23t@proxy:3128": true, "ann:s3cret@proxy:3128": true, "http://my_proxy:3128": true,
		"http://ann:s3cr%t@proxy:3128": false, "http://ann:s3cr#t@proxy:3128": false, "http://ann:s3cr/t@proxy:3128": false, "http://ann:s3cr?t@proxy:3128": false,
		"http://proxy:port": false, `"http://proxy:3128"`: false, "'http://proxy:3128'": false, "http//proxy:3128": false, "http:/proxy:3128": false, "http://": false,
		"socks4://proxy:1080": false, "socks://proxy:1080": false, "ftp://proxy": false, "http://${PROXY}:3128": false, "http://$PROXY:3128": false, "a.example, b.example": false,
		"http://proxy:3128\n": false,
	} {
		for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
			err := CheckProxies(func(of string) string { return map[string]string{name: text}[of] })
			switch {
			case (err == nil) != good:
				t.Errorf("%s=%q: %v", name, text, err)
			case err != nil && (!strings.HasPrefix(err.Error(), name+" is not the URL of a proxy") || strings.Contains(err.Error(), "s3cr")):
				t.Errorf("%s=%q: %v", name, text, err)
			}
		}
	}
	both := map[string]string{"HTTPS_PROXY": "proxy:3128", "https_proxy": "http://proxy:port"}
	if err := CheckProxies(func(of string) string { return both[of] }); err != nil {
		t.Errorf("a variable that another one hides: %v", err)
	}
}

// TestProxyThatFails: the error names the proxy, and not the registry behind it, and no connection stays open.
func TestProxyThatFails(t *testing.T) {
	answer := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}
	silent := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Close()
	const at = "the proxy at 192.0.2.9:3128"
	for name, c := range map[string]struct {
		proxy string
		fail  error               // of connecting
		does  func(conn net.Conn) // the proxy
		want  string
	}{
		"silent":                {"http://192.0.2.9:3128", nil, silent, "no data for too long, through " + at + " (3 attempts)"},
		"silent, of SOCKS":      {"socks5://192.0.2.9:3128", nil, silent, "no data for too long, through " + at + " (3 attempts)"},
		"silent, with TLS":      {"https://192.0.2.9:3128", nil, silent, at + " cannot be reached: check HTTPS_PROXY"},
		"closes the connection": {"http://192.0.2.9:3128", nil, answer(""), "EOF, through " + at},
		"is something else":     {"http://192.0.2.9:3128", nil, answer("220 mail.example ESMTP\r\n"), ", through " + at},
		"fails in TLS":          {"http://192.0.2.9:3128", nil, answer("HTTP/1.1 200 OK\r\n\r\n"), ", through " + at},
		"wants a sign-in":       {"http://192.0.2.9:3128", nil, answer("HTTP/1.1 407 No\r\n\r\n"), at + " answered 407 Proxy Authentication Required; put a user and a password into HTTPS_PROXY"},
		"refuses the sign-in":   {"http://ann:s3cret@192.0.2.9:3128", nil, answer("HTTP/1.1 407 No\r\n\r\n"), "; check the user and the password in HTTPS_PROXY"},
		"has no TLS":            {"https://192.0.2.9:3128", nil, func(conn net.Conn) { go silent(conn); _, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n") }, at + " does not use TLS: write http:// in HTTPS_PROXY"},
		"has no name":           {"http://192.0.2.9:3128", &net.DNSError{Err: "no such host", Name: "proxy", IsNotFound: true}, nil, "the name of " + at + " is not known: check HTTPS_PROXY"},
		"is down":               {"http://192.0.2.9:3128", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, nil, at + " cannot be reached: check HTTPS_PROXY"},
		"has another's certificate": {"https://192.0.2.9:3128", nil, func(conn net.Conn) {
			_ = tls.Server(conn, server.TLS).HandshakeContext(context.Background())
			silent(conn)
		}, at + ": TLS: certificate is valid for example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				carrier, err := New(Options{Name: "r.example", API: "r.example", Start: 1, Most: 1, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				defer carrier.CloseIdleConnections()
				var open atomic.Int64
				carrier.dialer.environment = func(*http.Request) (*url.URL, error) { return url.Parse(c.proxy) }
				carrier.dialer.connect = func(context.Context, *net.Dialer, string, string) (net.Conn, error) {
					time.Sleep(time.Second)
					if c.fail != nil {
						return nil, c.fail
					}
					near, far := net.Pipe()
					open.Add(1)
					go func() {
						c.does(far)
						_, _ = io.Copy(io.Discard, far) // until the other side closes it
						open.Add(-1)
					}()
					return near, nil
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://r.example/", nil)
				if err != nil {
					t.Fatal(err)
				}
				_, err = carrier.Do(req, Call{Operation: "GET"})
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error = %v\nwant %s", err, c.want)
				}
				if text := err.Error(); strings.Contains(text, "s3cret") || strings.Contains(text, "plainHTTP") || strings.Contains(text, "(registries.") {
					t.Errorf("error = %v", err)
				}
				time.Sleep(stallTimeout) // net/http waits so long for the answer to CONNECT, and dial for that of SOCKS
				if n := open.Load(); n != 0 {
					t.Errorf("%d connections stay open", n)
				}
			})
		})
	}
}
