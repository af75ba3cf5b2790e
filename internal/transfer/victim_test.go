package transfer_test

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

// victim chooses the k-th request that a gate sees, and with it each repetition of the same request.
type victim struct {
	mu   sync.Mutex
	left int
	key  string
}

func newVictim(k int) *victim { return &victim{left: k} }

func (v *victim) match(r *http.Request) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := r.Method + " " + r.URL.Path + "?" + r.URL.RawQuery
	if v.key == "" && v.left == 0 {
		v.key = key
	}
	v.left--
	return v.key == key
}

// chosen tells whether there were so many requests.
func (v *victim) chosen() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.key != ""
}

// rest waits until the client gives a registry that did not answer another chance, and asks again for referrers.
func (*stand) rest(t *testing.T) {
	t.Helper()
	time.Sleep(10 * time.Minute) // of the bubble
}
