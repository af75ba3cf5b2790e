package fault

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
)

// match chooses requests.
type match func(*http.Request) bool

// kind matches a method and a kind of request; an empty string is any.
func kind(method, of string) match { return registry.MatchKind(method, of) }

func (m match) and(other match) match {
	return func(r *http.Request) bool { return m(r) && other(r) }
}

// blob matches the download of one blob.
func blob(digest string) match {
	return kind(http.MethodGet, registry.KindBlob).and(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, digest) })
}

// byTag matches the requests for a manifest by tag.
func byTag(r *http.Request) bool {
	return kind("", registry.KindManifest)(r) && !strings.Contains(r.URL.Path, ":")
}

// upload matches what starts an upload or carries one.
func upload(r *http.Request) bool {
	return kind("", registry.KindUpload)(r) && r.Method != http.MethodGet && r.Method != http.MethodDelete
}

// carries matches the requests with a part of a blob in them, a PUT or a PATCH.
func carries(r *http.Request) bool {
	return upload(r) && r.Method != http.MethodPost && r.ContentLength != 0
}

// large matches what carries more than half of a layer, as far as the request says.
func large(r *http.Request) bool { return r.ContentLength < 0 || r.ContentLength > cutAt }

// purpose is the same for a request and its repetition. The path of an upload is another one each time; what is uploaded is
// said at its start or at its end, by those programs that say it.
func purpose(r *http.Request) string {
	if !upload(r) {
		return r.Method + " " + r.URL.Path + "?" + r.URL.RawQuery
	}
	repository, _, _ := strings.Cut(r.URL.Path, "/blobs/uploads")
	query := r.URL.Query()
	return r.Method + " " + repository + " " + query.Get("digest") + query.Get("mount")
}

// exact tells whether no other request has the same purpose.
func exact(r *http.Request) bool {
	return !upload(r) || r.URL.Query().Has("digest") || r.URL.Query().Has("mount")
}

// first matches the first n requests for each purpose.
func first(n int) match {
	var mu sync.Mutex
	seen := map[string]int{}
	return func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		seen[purpose(r)]++
		return seen[purpose(r)] <= n
	}
}

// armed makes a match end with the fault, and counts what it hits.
func (e *end) armed(m match) match {
	return func(r *http.Request) bool {
		hit := !e.stage.healed.Load() && m(r)
		if hit {
			e.stage.hits.Add(1)
		}
		return hit
	}
}

// inject puts a fault that the gate knows in place.
func (e *end) inject(m match, fault registry.Fault) {
	fault.Match = e.armed(m)
	e.gate.Inject(fault)
}

// action answers a request in the place of next, or with its help.
type action func(w http.ResponseWriter, r *http.Request, next http.Handler)

// wrap has act answer the requests that match.
func (e *end) wrap(m match, act action) {
	next, m := e.chain, e.armed(m)
	e.chain = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m(r) {
			act(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// problem answers with an error in the form of the distribution spec.
func problem(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
}

// tear reads half of a layer of the request's body and then resets the connection.
func tear(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.CopyN(io.Discard, r.Body, cutAt)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// flip turns over a byte of what is uploaded.
func flip(w http.ResponseWriter, r *http.Request, next http.Handler) {
	r.Body = &flippedBody{ReadCloser: r.Body}
	next.ServeHTTP(w, r)
}

type flippedBody struct {
	io.ReadCloser
	read int
}

func (b *flippedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.read < cutAt && b.read+n > cutAt {
		p[cutAt-b.read] ^= 0xff
	}
	b.read += n
	return n, err
}

// stall sends half of a layer and then nothing, as long as the client stays.
func stall(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(&pacedWriter{ResponseWriter: w, at: cutAt, pause: func() {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}}, r)
}

// slowDown stops for d in the middle of the answer.
func slowDown(d time.Duration) action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&pacedWriter{ResponseWriter: w, at: cutAt, pause: func() { rest(r.Context(), d) }}, r)
	}
}

// pacedWriter pauses once, after so many bytes.
type pacedWriter struct {
	http.ResponseWriter
	at, sent int
	pause    func()
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	if w.sent >= w.at || w.sent+len(p) < w.at {
		w.sent += len(p)
		return w.ResponseWriter.Write(p)
	}
	head := w.at - w.sent
	n, err := w.ResponseWriter.Write(p[:head])
	w.sent += n
	if err != nil {
		return n, err
	}
	if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil {
		return n, err
	}
	w.pause()
	more, err := w.ResponseWriter.Write(p[head:])
	w.sent += more
	return n + more, err
}

// takeSlowly stops for d in the middle of what is uploaded.
func takeSlowly(d time.Duration) action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Body = &pacedBody{ReadCloser: r.Body, pause: func() { rest(r.Context(), d) }}
		next.ServeHTTP(w, r)
	}
}

// pacedBody pauses once, after half of a layer.
type pacedBody struct {
	io.ReadCloser
	read  int
	pause func()
}

func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.read < cutAt && b.read+n >= cutAt {
		b.pause()
	}
	b.read += n
	return n, err
}

// rest waits, but not longer than the client.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
