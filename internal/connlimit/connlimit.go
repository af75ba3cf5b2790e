// Package connlimit bounds how many connections an HTTP server serves at once.
package connlimit

import (
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
)

// Limit bounds the connections that are served at once, over all listeners. Where all slots are taken, the connection that has idled
// longest gives up its own, and others wait for one: those that say nothing lose theirs by the time-outs.
type Limit struct {
	// free has an element for each slot that is taken.
	free chan struct{}

	mu sync.Mutex
	// idle are connections between two requests, the longest idle first.
	idle []net.Conn
	// waiting counts those that want a slot.
	waiting int
}

// New returns a limit of n connections.
func New(n int) *Limit { return &Limit{free: make(chan struct{}, n)} }

// Changed is told of every change of a connection's state.
func (l *Limit) Changed(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	var given net.Conn
	switch {
	case state == http.StateIdle && l.waiting > 0:
		given = conn
	case state == http.StateIdle:
		l.idle = append(l.idle, conn)
	default:
		if i := slices.Index(l.idle, conn); i >= 0 {
			l.idle = slices.Delete(l.idle, i, i+1)
		}
	}
	l.mu.Unlock()
	if given != nil {
		_ = given.Close() // it may be gone already
	}
}

// take waits for a slot; false means that the listener was closed.
func (l *Limit) take(closed <-chan struct{}) bool {
	select {
	case l.free <- struct{}{}:
		return true
	default:
	}
	l.mu.Lock()
	l.waiting++
	var given net.Conn
	if len(l.idle) > 0 {
		given = l.idle[0]
		l.idle = slices.Delete(l.idle, 0, 1)
	}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.waiting--
		l.mu.Unlock()
	}()
	if given != nil {
		_ = given.Close() // it may be gone already
	}
	select {
	case l.free <- struct{}{}:
		return true
	case <-closed:
		return false
	}
}

// Listener returns one whose connections need a slot each.
func (l *Limit) Listener(inner net.Listener) net.Listener {
	return &limitedListener{Listener: inner, limit: l, closed: make(chan struct{})}
}

type limitedListener struct {
	net.Listener
	limit  *Limit
	once   sync.Once
	closed chan struct{}
}

// Taken returns how many connections have a slot.
func (l *Limit) Taken() int { return len(l.free) }

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.limit.take(l.closed) {
		_ = conn.Close() // nothing was said
		return nil, net.ErrClosed
	}
	return &limitedConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.limit.free })}, nil
}

// Close implements net.Listener.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn is a connection that gives up its slot when it is closed.
type limitedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// CloseWrite says that nothing more comes, where the connection can: the server does so to have its last answer read.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// ReadFrom implements io.ReaderFrom, so that the system can send files by itself.
func (c *limitedConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }
