package registry

import (
	"net/http"
	"sync"
)

// limits bounds the requests in flight at one registry. Reads and writes have places of their own: an upload that waits for
// its bytes holds a place for writing while the download that feeds it takes one for reading, and shared places would let
// uploads starve the downloads that they wait for. So have token requests: what is in flight may wait for one.
type limits struct {
	reads, writes, tokens chan struct{}
}

func newLimits(concurrency int) *limits {
	places := func() chan struct{} { return make(chan struct{}, concurrency) }
	return &limits{reads: places(), writes: places(), tokens: places()}
}

// acquire waits for a place and returns what gives it back, which may be called more than once.
func (l *limits) acquire(req *http.Request) (func(), error) {
	places := l.writes
	switch {
	case tokenRequest(req):
		places = l.tokens
	case req.Method == http.MethodGet, req.Method == http.MethodHead:
		places = l.reads
	}
	select {
	case places <- struct{}{}:
		return sync.OnceFunc(func() { <-places }), nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}
