package registry

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// refusals remember which token requests were refused. regclient asks again for each request of a repository, and Docker Hub locks an
// account for ten minutes after some wrong passwords, so there a credential that fails is left alone as a whole. Elsewhere a refusal may
// be about one repository.
type refusals struct {
	// locks is set where wrong passwords lock an account, and too many requests for tokens an address.
	locks bool

	mu    sync.Mutex
	known map[requestKey]refusal
	// strikes are the refusals of a credential one after the other, whatever was asked for with it, the latest at strike.
	strikes map[requestKey]strike
}

type refusal struct {
	until time.Time
	err   *Error
}

type strike struct {
	count  int
	latest time.Time
}

const (
	// refusalFor is how long a refused token request is not sent again.
	refusalFor = time.Minute
	// lockFor is how long a credential is not used that was refused maxStrikes times, or of which the server has had enough.
	lockFor    = 10 * time.Minute
	maxStrikes = 3
)

func newRefusals(locks bool) *refusals {
	return &refusals{locks: locks, known: map[requestKey]refusal{}, strikes: map[requestKey]strike{}}
}

// requestKey is a hash, because what it is made of has the credential in it.
type requestKey [sha256.Size]byte

// refusalKey is one for requests that have to get the same answer.
func refusalKey(req *http.Request, body []byte) requestKey {
	return sha256.Sum256([]byte(req.Method + "\n" + req.URL.String() + "\n" + req.Header.Get("Authorization") + "\n" + string(body)))
}

// credentialKey is one for all requests that sign in with one credential, whatever they ask for. signed is false for an anonymous one.
func credentialKey(req *http.Request, body []byte) (key requestKey, signed bool) {
	authorization := req.Header.Get("Authorization")
	form, _ := url.ParseQuery(string(body)) // one that is broken signs nobody in
	signed = authorization != "" || form.Has("password") || form.Has("refresh_token")
	form.Del("scope")
	return sha256.Sum256([]byte("credential\n" + req.URL.Host + "\n" + authorization + "\n" + form.Encode())), signed
}

// check returns the last refusal of the same token request, or of all with its credential; nil where there is none or it is old.
func (r *refusals) check(req *http.Request, body []byte) error {
	if !tokenRequest(req) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	credential, _ := credentialKey(req, body)
	for _, key := range []requestKey{credential, refusalKey(req, body)} {
		if known, ok := r.known[key]; ok && now.Before(known.until) {
			return known.err
		}
	}
	return nil
}

// served notes that a credential is good.
func (r *refusals) served(req *http.Request, body []byte) {
	if !tokenRequest(req) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	credential, _ := credentialKey(req, body)
	delete(r.strikes, credential)
}

// note keeps a failure where it is a refusal of a token request.
func (r *refusals) note(req *http.Request, body []byte, e *Error) {
	if !tokenRequest(req) || e.Status != http.StatusUnauthorized && e.Status != http.StatusTooManyRequests {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.forget(now)
	credential, signed := credentialKey(req, body)
	if e.Status == http.StatusTooManyRequests {
		r.known[credential] = refusal{until: e.NotBefore, err: e}
		return
	}
	r.known[refusalKey(req, body)] = refusal{until: now.Add(refusalFor), err: e}
	s := strike{r.strikes[credential].count + 1, now}
	r.strikes[credential] = s
	if r.locks && signed && s.count >= maxStrikes {
		until := now.Add(lockFor)
		locked := *e
		locked.Hint += fmt.Sprintf("; refused %d times, it is not tried again before %s, because it would lock the account", s.count, until.UTC().Format("15:04 MST"))
		r.known[credential] = refusal{until: until, err: &locked}
	}
}

// forget drops what is over.
func (r *refusals) forget(now time.Time) {
	for key, old := range r.known {
		if !now.Before(old.until) {
			delete(r.known, key)
		}
	}
	for key, old := range r.strikes {
		if now.Sub(old.latest) > lockFor {
			delete(r.strikes, key)
		}
	}
}

// enough is until when a token server is left alone that has had enough of requests: as long as its header says, or as Docker Hub locks an
// account where there is a credential, and a minute, the window of its limit, otherwise.
func enough(req *http.Request, header http.Header, now time.Time) time.Time {
	// Docker's says in how many seconds its window ends; Docker Hub's API says a Unix time in the same header.
	if n, err := strconv.ParseInt(header.Get("X-Ratelimit-Reset"), 10, 64); err == nil && n > 0 {
		at := now.Add(time.Duration(min(n, unixFrom)) * time.Second)
		if n >= unixFrom {
			at = time.Unix(n, 0)
		}
		if at.After(now) && at.Before(now.Add(time.Hour)) {
			return at
		}
	}
	if req.Header.Get("Authorization") != "" || req.Method == http.MethodPost {
		return now.Add(lockFor)
	}
	return now.Add(refusalFor)
}
