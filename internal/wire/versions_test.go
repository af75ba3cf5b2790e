package wire

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// TestServerThatGivesUpHTTP2: a server that wants HTTP/1.1 gets it, and one that gives up each connection costs one a second until the attempt ends.
func TestServerThatGivesUpHTTP2(t *testing.T) {
	goAway := func(code http2.ErrCode) func(*http2.Framer, uint32) {
		return func(f *http2.Framer, _ uint32) { _ = f.WriteGoAway(0, code, nil) }
	}
	reset := func(f *http2.Framer, stream uint32) { _ = f.WriteRSTStream(stream, http2.ErrCodeHTTP11Required) }
	for name, c := range map[string]struct {
		begun, asked func(f *http2.Framer, stream uint32) // nil for nothing
		body         string
		deadline     time.Duration
		want         string // the error
		connections  int64  // at most
		took         time.Duration
	}{
		"with GOAWAY at once":             {goAway(http2.ErrCodeNo), nil, "", 0, "no data for too long, after 35 connections for one request (2 attempts)", 70, 61 * time.Second},
		"with GOAWAY for a request":       {nil, goAway(http2.ErrCodeNo), "", 0, "no data for too long, after 35 connections for one request (2 attempts)", 70, 61 * time.Second},
		"with GOAWAY and a deadline":      {goAway(http2.ErrCodeNo), nil, "", 9500 * time.Millisecond, "its answer took too long, after 14 connections for one request", 14, 9500 * time.Millisecond},
		"for HTTP/1.1 with GOAWAY":        {nil, goAway(http2.ErrCodeHTTP11Required), "", 0, "", 2, 0},
		"for HTTP/1.1 with RST_STREAM":    {nil, reset, "", 0, "", 2, 0},
		"for HTTP/1.1 after it got bytes": {nil, reset, "bytes", 0, "", 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newRawServer(t, c.begun, c.asked)
				carrier := inMemory(t, server.pipes, Options{Start: 1, Most: 1, Retries: Retries{Attempts: 2, First: time.Millisecond}})
				defer carrier.CloseIdleConnections()
				for range 2 { // the second by what the first has found out
					carrier.ill.Drop(carrier.host)
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://"+carrier.host+"/", strings.NewReader(c.body))
					if err != nil {
						t.Fatal(err)
					}
					before, begun := server.connections.Load(), time.Now()
					resp, err := carrier.Do(req, Call{Operation: "PUT", Deadline: c.deadline, Patience: 30500 * time.Millisecond})
					if err == nil {
						_ = resp.Body.Close()
					}
					if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
						t.Errorf("error = %v", err)
					}
					if took := time.Since(begun); took < c.took || took > c.took+10*time.Millisecond {
						t.Errorf("it took %s", took)
					}
					time.Sleep(2 * time.Minute) // nothing connects any more, and unused connections end
					if n := server.connections.Load() - before; n > c.connections {
						t.Errorf("%d connections", n)
					}
				}
				if n := server.refused.Load(); c.want == "" && n != 1 {
					t.Errorf("%d requests by HTTP/2", n)
				}
			})
		})
	}
}

// TestServerOfFewStreams: requests that lose the streams of a connection to others are slower, and do not fail.
func TestServerOfFewStreams(t *testing.T) {
	for name, c := range map[string]struct{ streams, requests, atOnce int }{
		"1 stream, 16 at once":  {1, 32, 16},
		"1 stream, 64 at once":  {1, 128, 64},
		"4 streams, 64 at once": {4, 128, 64},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var connections atomic.Int64
				listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(300 * time.Millisecond) }))
				_ = server.Listener.Close()
				server.Listener, server.EnableHTTP2 = listener, true
				server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: c.streams}
				server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateNew {
						connections.Add(1)
					}
				}
				server.StartTLS()
				defer server.Close()
				carrier := inMemory(t, listener, Options{Start: c.atOnce, Most: c.atOnce, Retries: Retries{Attempts: 1}})
				defer carrier.CloseIdleConnections()
				begun := time.Now()
				var group sync.WaitGroup
				for range c.requests {
					group.Go(func() {
						req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+carrier.host+"/", nil)
						if err != nil {
							t.Error(err)
							return
						}
						resp, err := carrier.Do(req, Call{Operation: "GET"})
						if err != nil {
							t.Error(err)
							return
						}
						_ = resp.Body.Close()
					})
				}
				group.Wait()
				if took := time.Since(begun); took > 10*time.Second || connections.Load() > int64(10*c.requests) {
					t.Errorf("%s, %d connections", took, connections.Load())
				}
			})
		})
	}
}

// inMemory returns a transport to a server that listens in memory.
func inMemory(t *testing.T, to *pipes, o Options) *Transport {
	t.Helper()
	o.Name, o.API, o.Host.InsecureSkipVerify, o.Log = "192.0.2.1", "192.0.2.1", true, slog.New(slog.DiscardHandler)
	carrier, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	carrier.dialer.connect = func(context.Context, *net.Dialer, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		to.conns <- far
		return near, nil
	}
	return carrier
}

// rawServer is a server with TLS that answers all requests by HTTP/1.1, and none by HTTP/2.
type rawServer struct {
	pipes                *pipes
	connections, refused atomic.Int64
}

// newRawServer starts a server that calls begun for each connection by HTTP/2, and asked for each request.
func newRawServer(t *testing.T, begun, asked func(*http2.Framer, uint32)) *rawServer {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	s := &rawServer{pipes: &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}}
	l := tls.NewListener(s.pipes, &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	t.Cleanup(func() { _ = l.Close() })
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
	writes := make(chan func(), 10) // beside the reads: the pipe holds nothing
	defer close(writes)
	go func() {
		for write := range writes {
			write()
		}
	}()
	writes <- func() { _ = f.WriteSettings() }
	if begun != nil {
		writes <- func() { begun(f, 0) }
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if headers, ok := frame.(*http2.HeadersFrame); ok && asked != nil {
			s.refused.Add(1)
			stream := headers.StreamID
			writes <- func() { asked(f, stream) }
		}
	}
}
