package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Gate stands before a handler: it logs each request, and applies the first fault that matches. Safe for concurrent use.
type Gate struct {
	next    http.Handler
	latency time.Duration
	log     requestLog
	faults  faults
}

// NewGate returns a gate before next.
func NewGate(next http.Handler) *Gate { return &Gate{next: next} }

// Requests returns the log, in the order of arrival, with requests still under way.
func (g *Gate) Requests() []Request { return g.log.snapshot() }

// Reset empties the log. Faults and content stay.
func (g *Gate) Reset() { g.log.reset() }

// Count returns how many requests of the log match.
func (g *Gate) Count(match func(Request) bool) int {
	n := 0
	for _, r := range g.log.snapshot() {
		if match(r) {
			n++
		}
	}
	return n
}

// Inject adds a fault behind those there are; remove takes it out again.
func (g *Gate) Inject(fault Fault) (remove func()) { return g.faults.add(fault) }

// ServeHTTP implements http.Handler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := g.log.open(r)
	fault := g.faults.take(r)
	out := &gateWriter{ResponseWriter: w, entry: e, fault: fault, ctx: r.Context(), head: r.Method == http.MethodHead}
	in := *r
	if r.Body != nil && r.Body != http.NoBody {
		in.Body = &gateReader{ReadCloser: r.Body, entry: e, cutAt: fault.CutRequestAt, cut: &out.cut}
	}
	if !wait(r.Context(), g.latency+fault.Delay) {
		panic(http.ErrAbortHandler)
	}
	if fault.Before != nil {
		fault.Before()
	}
	switch {
	case fault.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case fault.Reset:
		reset(w)
	case fault.Status != 0:
		out.WriteHeader(fault.Status)
		_, _ = io.WriteString(out, fault.Body)
	default:
		g.next.ServeHTTP(out, &in)
		if fault.After != nil {
			fault.After()
		}
	}
	if out.cut.Load() {
		panic(http.ErrAbortHandler)
	}
	if fault.Endless && !out.head {
		out.goOn(r.Context())
	}
}

// wait reports whether d passed before the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reset closes the connection so that the client sees a TCP reset where there is TCP, and a broken stream elsewhere.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// gateWriter counts and damages an answer.
type gateWriter struct {
	http.ResponseWriter
	entry *entry
	fault Fault
	ctx   context.Context //nolint:containedctx // the request's, as long as it is answered
	head  bool
	wrote bool
	sent  int64
	cut   atomic.Bool // set by gateReader: the connection is to be closed, no answer may leave
}

// Unwrap lets an http.ResponseController flush.
func (w *gateWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *gateWriter) WriteHeader(status int) {
	if w.cut.Load() {
		panic(http.ErrAbortHandler)
	}
	if status >= 100 && status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.wrote {
		return
	}
	w.wrote = true
	for name, values := range w.fault.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if w.fault.Endless {
		w.Header().Del("Content-Length")
	}
	w.entry.status.Store(int64(status))
	w.ResponseWriter.WriteHeader(status)
}

func (w *gateWriter) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	if w.head {
		return w.ResponseWriter.Write(p)
	}
	if left := w.fault.CutAt - w.sent; w.fault.CutAt > 0 && int64(len(p)) >= left {
		_, _ = w.send(p[:left])
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return w.send(p)
}

// goOn writes until the client has had enough.
func (w *gateWriter) goOn(ctx context.Context) {
	spaces := bytes.Repeat([]byte(" "), 32<<10)
	for ctx.Err() == nil {
		if _, err := w.send(spaces); err != nil {
			return
		}
	}
}

// send writes, with pauses where the fault has them.
func (w *gateWriter) send(p []byte) (n int, err error) {
	if w.fault.Trickle <= 0 {
		return w.write(p)
	}
	for n < len(p) && err == nil {
		if !wait(w.ctx, w.fault.Trickle) {
			return n, context.Cause(w.ctx)
		}
		var one int
		one, err = w.write(p[n : n+1])
		n += one
		_ = http.NewResponseController(w.ResponseWriter).Flush() // where it cannot, nothing is kept back
	}
	return n, err
}

// write counts before it writes, see entry.
func (w *gateWriter) write(p []byte) (int, error) {
	if at := w.fault.FlipByte - 1 - w.sent; at >= 0 && at < int64(len(p)) {
		p = append([]byte(nil), p...) // p may be the stored blob itself
		p[at] ^= 0xff
	}
	w.sent += int64(len(p))
	w.entry.bytesOut.Add(int64(len(p)))
	n, err := w.ResponseWriter.Write(p)
	w.entry.bytesOut.Add(int64(n - len(p)))
	return n, err
}

// errCut is what a handler reads where a fault cut the request.
var errCut = errors.New("request cut by a fault")

// gateReader counts and cuts a request's body. It may be read by another goroutine than the handler's (a reverse
// proxy's transport does), so it only marks the cut and leaves the panic to the writer.
type gateReader struct {
	io.ReadCloser
	entry *entry
	cutAt int64
	read  int64
	cut   *atomic.Bool
}

func (r *gateReader) Read(p []byte) (int, error) {
	if r.cutAt > 0 {
		if r.read >= r.cutAt {
			r.cut.Store(true)
			return 0, errCut
		}
		p = p[:min(int64(len(p)), r.cutAt-r.read)]
	}
	n, err := r.ReadCloser.Read(p)
	r.read += int64(n)
	r.entry.bytesIn.Add(int64(n))
	return n, err
}
