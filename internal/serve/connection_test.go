package serve

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without sockets.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	gone  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), gone: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.gone:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.gone) }); return nil }
func (p *pipes) Addr() net.Addr { c, _ := net.Pipe(); return c.LocalAddr() }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// TestSlowClients lose their connection at the documented moment.
func TestSlowClients(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "app")
	s := push(t, dir, "1", 5<<20)
	blob := "GET /v2/app/blobs/" + digestOf(s.layer) + " HTTP/1.1\r\nHost: x\r\n"
	for name, test := range map[string]struct {
		say   string
		reads bool
		after time.Duration
	}{
		"says nothing":      {"", true, 10 * time.Second},
		"half a header":     {"GET /v2/ HTTP/1.1\r\nHost: ", true, 10 * time.Second},
		"no next request":   {"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", true, 2 * time.Minute},
		"a body that idles": {"PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", true, 10 * time.Second},
		"reads no blob":     {blob + "\r\n", false, time.Minute},
		"reads no range":    {blob + "Range: bytes=10-\r\n\r\n", false, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener, server := newPipes(), newServer(t, Options{Layouts: []Layout{{Path: dir}}})
				ended := make(chan error, 1)
				go func() { ended <- server.Serve(listener) }()
				conn, began := listener.dial(), time.Now()
				go func() { _, _ = io.WriteString(conn, test.say) }()
				closed := make(chan struct{})
				if test.reads {
					go func() { defer close(closed); _, _ = io.Copy(io.Discard, conn) }()
				} else {
					go func() {
						defer close(closed)
						_, _ = io.ReadFull(conn, make([]byte, 100))
						time.Sleep(test.after + time.Second)
						_, _ = io.Copy(io.Discard, conn)
					}()
				}
				<-closed
				// Of what the writer has been given before, nothing comes after the limit; a second's difference is for the last words.
				if took := time.Since(began); took < test.after || took > test.after+time.Second {
					t.Errorf("cut off after %v, want %v", took, test.after)
				}
				_ = conn.Close()
				if err := server.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSteadyClient: who takes each MiB within the limit gets all, however long it takes.
func TestSteadyClient(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "app")
	s := push(t, dir, "1", 5<<20)
	for name, lines := range map[string]string{"whole": "", "a part": "Range: bytes=0-\r\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener, server := newPipes(), newServer(t, Options{Layouts: []Layout{{Path: dir}}})
				ended := make(chan error, 1)
				go func() { ended <- server.Serve(listener) }()
				conn := listener.dial()
				go func() {
					_, _ = io.WriteString(conn, "GET /v2/app/blobs/"+digestOf(s.layer)+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+lines+"\r\n")
				}()
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				var got strings.Builder
				for err == nil {
					time.Sleep(25 * time.Second)
					_, err = io.CopyN(&got, response.Body, 512<<10)
				}
				if got.String() != s.layer {
					t.Errorf("%d bytes of %d, %v", got.Len(), len(s.layer), err)
				}
				_ = conn.Close()
				if err := server.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				<-ended
			})
		})
	}
}
