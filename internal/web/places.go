package web

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// places bounds the connections that are served at once, over all listeners. Where all places are taken, the connection that has idled
// longest gives up its own, and others wait for one: those that say nothing lose theirs by the time-outs.
type places struct {
	// free has an element for each place that is taken.
	free chan struct{}

	mu sync.Mutex
	// idle are connections between two requests, the longest idle first.
	idle []net.Conn
	// waiting counts those that want a place.
	waiting int
}

func newPlaces(n int) *places { return &places{free: make(chan struct{}, n)} }

// changed is told of every change of a connection's state.
func (p *places) changed(conn net.Conn, state http.ConnState) {
	p.mu.Lock()
	var given net.Conn
	switch {
	case state == http.StateIdle && p.waiting > 0:
		given = conn
	case state == http.StateIdle:
		p.idle = append(p.idle, conn)
	default:
		if i := slices.Index(p.idle, conn); i >= 0 {
			p.idle = slices.Delete(p.idle, i, i+1)
		}
	}
	p.mu.Unlock()
	if given != nil {
		_ = given.Close() // it may be gone already
	}
}

// take waits for a place; false means that the listener was closed.
func (p *places) take(closed <-chan struct{}) bool {
	select {
	case p.free <- struct{}{}:
		return true
	default:
	}
	p.mu.Lock()
	p.waiting++
	var given net.Conn
	if len(p.idle) > 0 {
		given = p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.waiting--
		p.mu.Unlock()
	}()
	if given != nil {
		_ = given.Close() // it may be gone already
	}
	select {
	case p.free <- struct{}{}:
		return true
	case <-closed:
		return false
	}
}

// listener returns one whose connections need a place each.
func (p *places) listener(inner net.Listener) net.Listener {
	return &placesListener{Listener: inner, places: p, closed: make(chan struct{})}
}

type placesListener struct {
	net.Listener
	places *places
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *placesListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.places.take(l.closed) {
		_ = conn.Close() // nothing was said
		return nil, net.ErrClosed
	}
	return &placed{Conn: conn, leave: sync.OnceFunc(func() { <-l.places.free })}, nil
}

// Close implements net.Listener.
func (l *placesListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// placed is a connection that gives up its place when it is closed.
type placed struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *placed) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// CloseWrite says that nothing more comes, where the connection can: the server does so to have its last answer read.
func (c *placed) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
