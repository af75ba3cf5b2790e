package registry

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Request is one line of a log: what a client asked and what it was given.
type Request struct {
	Method     string
	Path       string
	Query      string // as it was sent, undecoded
	Kind       string // one of the Kind constants
	Repository string
	Reference  string // tag, digest or upload id
	Status     int    // 0: no answer was sent (yet), as after a reset
	BytesIn    int64  // of the request's body, as far as it was read
	BytesOut   int64  // of the answer's body
	// Authorization says that the request carried such a header; what was in it is never kept.
	Authorization bool
	At            time.Time
}

// entry is a Request under way. Its numbers are set before the client can see what they count, so that a client which
// has its answer finds that answer in the log.
type entry struct {
	request           Request
	status            atomic.Int64
	bytesIn, bytesOut atomic.Int64
}

// requestLog keeps entries in the order of arrival.
type requestLog struct {
	tokenPath string // where tokens are given out other than at /token
	mu        sync.Mutex
	entries   []*entry
}

// route is what a request asks for.
func (l *requestLog) route(r *http.Request) route {
	if r.URL.Path == l.tokenPath {
		return route{kind: KindToken}
	}
	return parseRoute(r.URL.Path)
}

func (l *requestLog) open(r *http.Request) *entry {
	to := l.route(r)
	e := &entry{request: Request{
		Method:        r.Method,
		Path:          r.URL.Path,
		Query:         r.URL.RawQuery,
		Kind:          to.kind,
		Repository:    to.repository,
		Reference:     to.reference,
		Authorization: r.Header.Get("Authorization") != "",
		At:            time.Now(),
	}}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, e)
	return e
}

func (l *requestLog) snapshot() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	requests := make([]Request, len(l.entries))
	for i, e := range l.entries {
		requests[i] = e.request
		requests[i].Status = int(e.status.Load())
		requests[i].BytesIn = e.bytesIn.Load()
		requests[i].BytesOut = e.bytesOut.Load()
	}
	return requests
}

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}
