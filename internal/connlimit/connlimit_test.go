package connlimit

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
)

// given is a listener that accepts what is sent to it, until it is closed.
type given struct {
	net.Listener
	conns, closed chan net.Conn
}

func (g given) Accept() (net.Conn, error) {
	select {
	case conn := <-g.conns:
		return conn, nil
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

func (g given) Close() error { close(g.closed); return nil }

// TestLimit: a connection beyond the limit waits until another is closed, or idles, and no longer than the listener is open.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1)
		inner := given{conns: make(chan net.Conn), closed: make(chan net.Conn)}
		listener := l.Listener(inner)
		accepted, failed := make(chan net.Conn, 3), make(chan error, 1)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					failed <- err
					return
				}
				accepted <- conn
			}
		}()
		dial := func() net.Conn {
			client, server := net.Pipe()
			inner.conns <- server
			synctest.Wait()
			return client
		}
		dial()
		first := <-accepted
		dial()
		if len(accepted) != 0 || l.Taken() != 1 {
			t.Fatalf("%d accepted beyond the limit, %d slots taken", len(accepted), l.Taken())
		}
		l.Changed(first, http.StateActive)
		synctest.Wait()
		if len(accepted) != 0 {
			t.Fatal("a busy connection gave up its slot")
		}
		l.Changed(first, http.StateIdle)
		synctest.Wait()
		second := <-accepted
		if _, err := first.Write([]byte("x")); err == nil {
			t.Error("the idle connection is open")
		}
		l.Changed(second, http.StateIdle) // before somebody waits
		dial()
		third := <-accepted
		_ = third.Close()
		if l.Taken() != 0 {
			t.Errorf("%d slots are taken by nobody", l.Taken())
		}
		dial()
		<-accepted
		dial()
		_ = listener.Close()
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
