package postgrestest

import (
	"bytes"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Fault is what a [Proxy] does with a connection.
type Fault int

// Faults: what is asked never arrives; what is answered never arrives; nothing arrives any more, and nobody says so.
const (
	CutQuestion Fault = iota
	CutAnswer
	Swallow
)

// Proxy stands between tests and the server.
type Proxy struct {
	// URL is that of the database, through the proxy.
	URL string

	listener net.Listener

	mu     sync.Mutex
	word   string
	fault  Fault
	done   int
	silent bool
	holds  []hold
	// down is set while the server is not to be there, and gone is closed when that begins.
	down bool
	gone chan struct{}
	// open counts the connections that pass something on.
	open sync.WaitGroup
}

// Proxied makes a proxy for a database.
func Proxied(tb testing.TB, database string) *Proxy {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(database, "postgres://dray@/"), "?")
	p := &Proxy{URL: "postgres://dray@" + l.Addr().String() + "/" + name + "?sslmode=disable", listener: l, gone: make(chan struct{})}
	var open sync.WaitGroup
	stopped := make(chan struct{})
	open.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { p.serve(client, stopped) })
		}
	})
	tb.Cleanup(func() {
		close(stopped)
		_ = l.Close()
		open.Wait()
	})
	return p
}

// Next has the next connection that asks something with a word in it suffer a fault.
func (p *Proxy) Next(word string, fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.word, p.fault = word, fault
}

// hold is a question that waits, or whose answer does.
type hold struct {
	words  []string
	answer bool
	wait   func()
}

// Hold has the next question with all of the words in it wait until wait returns, before it is passed on; or its answer, if that is set.
func (p *Proxy) Hold(answer bool, wait func(), words ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds = append(p.holds, hold{words, answer, wait})
}

// held returns what a question, or its answer, waits for; nil for nothing.
func (p *Proxy) held(asked []byte) (question, answer func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, h := range p.holds {
		if slices.ContainsFunc(h.words, func(word string) bool { return !bytes.Contains(asked, []byte(word)) }) {
			continue
		}
		p.holds = slices.Delete(p.holds, i, i+1)
		if h.answer {
			return nil, h.wait
		}
		return h.wait, nil
	}
	return nil, nil
}

// Silence has all connections suffer Swallow at their next question, also those that are made from now on.
func (p *Proxy) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// Done returns how many faults there were.
func (p *Proxy) Done() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Down ends all connections and accepts none, as a server that is stopped, until Up.
func (p *Proxy) Down() {
	p.mu.Lock()
	p.down = true
	close(p.gone)
	p.mu.Unlock()
	p.open.Wait() // what is asked from now on never arrives
}

// Up has the proxy accept connections again.
func (p *Proxy) Up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.gone = false, make(chan struct{})
}

// enter reports whether the server is not to be there; else it counts a connection, and returns what is closed when the server goes.
func (p *Proxy) enter() (down bool, gone <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		p.open.Add(1)
	}
	return p.down, p.gone
}

// Refuse has the proxy accept no more connections.
func (p *Proxy) Refuse() { _ = p.listener.Close() }

func (p *Proxy) strikes(asked []byte) (fault Fault, now bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent {
		p.done++
		return Swallow, true
	}
	if p.word == "" || !bytes.Contains(asked, []byte(p.word)) {
		return 0, false
	}
	p.word = ""
	p.done++
	return p.fault, true
}

// serve passes on what comes until one of both sides ends the connection, or the tests are over.
func (p *Proxy) serve(client net.Conn, stopped <-chan struct{}) {
	down, gone := p.enter()
	if down {
		_ = client.Close()
		return
	}
	server, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.5432")) //nolint:noctx // a socket of this machine
	if err != nil {
		_ = client.Close()
		p.open.Done()
		return
	}
	var both sync.WaitGroup
	ended := make(chan struct{}, 2)
	mute := make(chan struct{})
	waits := make(chan func(), 1) // before the next answer
	both.Go(func() { p.ask(client, server, waits, mute, stopped); ended <- struct{}{} })
	both.Go(func() { answer(client, server, waits, mute); ended <- struct{}{} })
	select {
	case <-ended:
	case <-gone:
	case <-stopped:
	}
	_, _ = client.Close(), server.Close()
	p.open.Done()
	both.Wait()
}

func (p *Proxy) ask(client, server net.Conn, waits chan<- func(), mute chan<- struct{}, stopped <-chan struct{}) {
	var asked []byte // what was read last, since a word may come in two pieces
	for buffer := make([]byte, 64<<10); ; {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		asked = append(asked[max(0, len(asked)-100):], buffer[:n]...)
		fault, now := p.strikes(asked)
		if now && fault == CutQuestion {
			return
		}
		if now {
			close(mute)
			if fault == Swallow {
				<-stopped
				return
			}
		}
		question, late := p.held(buffer[:n])
		if question != nil {
			question()
		}
		if late != nil {
			waits <- late
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// answer passes on answers, but after mute is closed: then it ends with the first one.
func answer(client, server net.Conn, waits <-chan func(), mute <-chan struct{}) {
	for buffer := make([]byte, 64<<10); ; {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		select {
		case <-mute:
			return
		case wait := <-waits:
			wait()
		default:
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
