package registry

import (
	"crypto/sha256"
	"net/http"
	"sync"
	"time"
)

// refusals remember which token requests were refused. regclient asks again for each request of a repository, and registries
// lock an account after some wrong passwords (Docker Hub for ten minutes).
type refusals struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]refusal
}

type refusal struct {
	until time.Time
	err   *Error
}

// refusalFor is how long a refused token request is not sent again.
const refusalFor = time.Minute

func newRefusals() *refusals { return &refusals{known: map[[sha256.Size]byte]refusal{}} }

// refusalKey is one for requests that have to get the same answer. It is a hash because it has the credential in it.
func refusalKey(req *http.Request, body []byte) [sha256.Size]byte {
	parts := req.Method + "\n" + req.URL.String() + "\n" + req.Header.Get("Authorization") + "\n" + string(body)
	return sha256.Sum256([]byte(parts))
}

// check returns the last refusal of the same token request, nil where there is none or it is old.
func (r *refusals) check(req *http.Request, body []byte) error {
	if !tokenRequest(req) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.known[refusalKey(req, body)]
	if !ok || time.Now().After(known.until) {
		return nil
	}
	return known.err
}

// note keeps a failure where it is a refusal of a token request.
func (r *refusals) note(req *http.Request, body []byte, e *Error) {
	if !tokenRequest(req) || e.Status != http.StatusUnauthorized {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for key, old := range r.known {
		if now.After(old.until) {
			delete(r.known, key)
		}
	}
	r.known[refusalKey(req, body)] = refusal{until: now.Add(refusalFor), err: e}
}
