package registry

import (
	"net/http"
	"sync"
)

// limits bounds the requests in flight at one registry. Reads and writes have places of their own: an upload that waits for
// its bytes holds a place for writing while the download that feeds it takes one for reading, and shared places would let
// uploads starve the downloads that they wait for.
type limits struct {
	reads, writes chan struct{}
}

func newLimits(concurrency int) *limits {
	return &limits{reads: make(chan struct{}, concurrency), writes: make(chan struct{}, concurrency)}
}

// acquire waits for a place and returns what gives it back, which may be called more than once.
func (l *limits) acquire(req *http.Request) (func(), error) {
	places := l.writes
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		places = l.reads
	}
	select {
	case places <- struct{}{}:
		return sync.OnceFunc(func() { <-places }), nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}
