package wire

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestServerThatGivesUpHTTP2: a server that wants HTTP/1.1 gets it at once, and one that gives up each connection is not connected to without an end.
func TestServerThatGivesUpHTTP2(t *testing.T) {
	goAway := func(code http2.ErrCode) func(*http2.Framer, uint32) {
		return func(f *http2.Framer, _ uint32) { _ = f.WriteGoAway(0, code, nil) }
	}
	for name, c := range map[string]struct {
		begun, asked func(f *http2.Framer, stream uint32) // nil for nothing
		body         string
		want         string // the error
		connections  int64  // at most
	}{
		"with GOAWAY at once":             {goAway(http2.ErrCodeNo), nil, "", "it gives up each new connection before it answers (2 attempts)", 10},
		"with GOAWAY for a request":       {nil, goAway(http2.ErrCodeNo), "", "it gives up each new connection before it answers (2 attempts)", 10},
		"for HTTP/1.1 with GOAWAY":        {nil, goAway(http2.ErrCodeHTTP11Required), "", "", 2},
		"for HTTP/1.1 with RST_STREAM":    {nil, func(f *http2.Framer, stream uint32) { _ = f.WriteRSTStream(stream, http2.ErrCodeHTTP11Required) }, "", "", 2},
		"for HTTP/1.1 after it got bytes": {nil, func(f *http2.Framer, stream uint32) { _ = f.WriteRSTStream(stream, http2.ErrCodeHTTP11Required) }, "bytes", "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			server := newRawServer(t, c.begun, c.asked)
			carrier, err := New(Options{
				Name: server.host, API: server.host, Start: 1, Most: 1, Host: Host{InsecureSkipVerify: true}, Log: slog.New(slog.DiscardHandler),
				Retries: Retries{Attempts: 2, First: time.Millisecond},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer carrier.CloseIdleConnections()
			for range 2 { // the second by what the first has found out
				carrier.ill.Drop(server.host)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://"+server.host+"/", strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				before := server.connections.Load()
				resp, err := carrier.Do(req, Call{Operation: "PUT"})
				if err == nil {
					_ = resp.Body.Close()
				}
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("error = %v", err)
				}
				if n := server.connections.Load() - before; n > c.connections {
					t.Errorf("%d connections", n)
				}
			}
			if n := server.refused.Load(); c.want == "" && n != 1 {
				t.Errorf("%d requests by HTTP/2", n)
			}
		})
	}
}

// rawServer is a server with TLS that answers all requests by HTTP/1.1, and none by HTTP/2.
type rawServer struct {
	host                 string
	connections, refused atomic.Int64
}

// newRawServer starts a server that calls begun for each connection by HTTP/2, and asked for each request.
func newRawServer(t *testing.T, begun, asked func(*http2.Framer, uint32)) *rawServer {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &rawServer{host: l.Addr().String()}
	plain := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}
	t.Cleanup(func() { _ = plain.Close() })
	pipe := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	go plain.Serve(pipe)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			go func() {
				c := conn.(*tls.Conn) //nolint:forcetypeassert // it is one
				if err := c.HandshakeContext(t.Context()); err == nil && c.ConnectionState().NegotiatedProtocol != "h2" {
					pipe.conns <- c
					return
				}
				defer c.Close()
				s.serve(c, begun, asked)
			}()
		}
	}()
	return s
}

func (s *rawServer) serve(conn net.Conn, begun, asked func(*http2.Framer, uint32)) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	_ = f.WriteSettings()
	if begun != nil {
		begun(f, 0)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if headers, ok := frame.(*http2.HeadersFrame); ok && asked != nil {
			s.refused.Add(1)
			asked(f, headers.StreamID)
		}
	}
}
