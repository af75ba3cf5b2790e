package wire

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener that is connected to in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

// mortal is a connection that nothing passes any more once it is dead, as behind a firewall that has forgotten it.
type mortal struct {
	net.Conn
	dead, closed chan struct{}
	once         sync.Once
}

// Read implements net.Conn.
func (m *mortal) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	select {
	case <-m.dead:
		<-m.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

// Write implements net.Conn.
func (m *mortal) Write(p []byte) (int, error) {
	select {
	case <-m.dead:
		return len(p), nil
	default:
		return m.Conn.Write(p)
	}
}

// Close implements net.Conn.
func (m *mortal) Close() error { m.once.Do(func() { close(m.closed) }); return m.Conn.Close() }

// TestConnectionThatIsDead: a connection that several requests share is found out when nothing passes it, and the request goes on by another.
func TestConnectionThatIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			_, _ = io.WriteString(w, q.Proto)
		}))
		_ = server.Listener.Close()
		server.Listener, server.EnableHTTP2 = listener, true
		server.StartTLS()
		defer server.Close()
		carrier, err := New(Options{Name: "192.0.2.1", API: "192.0.2.1", Start: 1, Most: 1, Host: Host{InsecureSkipVerify: true}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer carrier.CloseIdleConnections()
		var conns []*mortal
		carrier.dialer.connect = func(context.Context, *net.Dialer, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			listener.conns <- far
			conns = append(conns, &mortal{Conn: near, dead: make(chan struct{}), closed: make(chan struct{})})
			return conns[len(conns)-1], nil
		}
		for _, want := range []int{1, 2} {
			begun := time.Now()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://192.0.2.1/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := carrier.Do(req, Call{Operation: "GET"})
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if took := time.Since(begun); err != nil || string(raw) != "HTTP/2.0" || len(conns) != want || took >= stallTimeout {
				t.Errorf("%q by connection %d after %s, %v", raw, len(conns), took, err)
			}
			if want == 1 {
				close(conns[0].dead)
			}
		}
	})
}

// TestHostsThatAreForgotten: what is known of hosts that gave no answer is dropped once it is over.
func TestHostsThatAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ill Recent[string, error]
		for i := range 100 {
			host := fmt.Sprint("host", i)
			ill.Put(host, io.EOF, restAfterFailure)
			if _, ok := ill.Get(host); !ok {
				t.Errorf("%s is asked again at once", host)
			}
			time.Sleep(restAfterFailure / 2)
		}
		if len(ill.known) > 4 {
			t.Errorf("%d hosts are remembered", len(ill.known))
		}
		time.Sleep(restAfterFailure)
		if _, ok := ill.Get("host99"); ok {
			t.Error("the last is not asked again")
		}
		for i := range maxRecent + 1 {
			ill.Put(fmt.Sprint("host", i), io.EOF, time.Hour)
		}
		if len(ill.known) != 1 {
			t.Errorf("%d hosts are remembered", len(ill.known))
		}
	})
}
