package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// guarded is the key under which a context carries the *guard of a listing.
type guarded struct{}

// guard follows the pages of one listing. A Link to the next page may lead nowhere but to the host that gave the page
// before: anything else could draw credentials or requests to a place of the registry's choosing.
type guard struct {
	mu    sync.Mutex
	host  string
	pages int
	// bytes is how many have come, of all pages.
	bytes int64
	// op is what was asked first.
	op string
	// failed keeps the first failure of a request, which regclient drops where it falls back to something else.
	failed *Error
	// noted is called with each failure of a request for referrers, before regclient sees it; may be nil.
	noted func(*Error)
	// asked is set once the referrers API was asked.
	asked bool
	// lacks tells whether a repository is known not to have a tag; nil for no knowledge. Such a tag is not asked for.
	lacks func(tag string) bool
}

// maxPages bounds a listing: 10,000 pages of 100 tags are a million.
const maxPages = 10_000

func withGuard(ctx context.Context) (context.Context, *guard) {
	g := &guard{}
	return context.WithValue(ctx, guarded{}, g), g
}

func guardOrigin(req *http.Request) error {
	g := guardOf(req)
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pages++
	op := operation(req)
	if g.op == "" {
		g.op = op
	}
	g.asked = g.asked || op == getReferrers
	if req.Response != nil || g.host == "" { // a redirect is the registry's own answer; the first request is ours
		g.host = req.URL.Host
	}
	if _, tag, ok := strings.Cut(req.URL.Path, "/manifests/"); ok && g.lacks != nil && g.lacks(tag) {
		return &Error{Host: g.host, Operation: op, Attempts: 1, Status: http.StatusNotFound}
	}
	e := &Error{Host: g.host, Operation: g.op, Attempts: 1, plain: true, cause: permanentError{errors.New("listing refused")}}
	switch {
	case g.host != req.URL.Host:
		e.Message = fmt.Sprintf("the next page is said to lie at another host, %s; not followed", clean(req.URL.Host))
	case g.pages > maxPages:
		e.Message = fmt.Sprintf("the list has more than %d pages", maxPages)
	case g.op == getReferrers && op != getReferrers && g.failed == nil:
		// The API has answered, and regclient falls back to the tag all the same. It may have broken off: worth a try.
		e.Message, e.cause = "what it answered is no list of referrers", nil
	default:
		return nil
	}
	if g.failed == nil {
		g.failed = e
	}
	return e
}

// noteFailure keeps the first failure of a request of a listing. A challenge gives way to the answer that follows it.
func noteFailure(req *http.Request, e *Error) {
	if g := guardOf(req); g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.failed == nil || g.failed.Status == http.StatusUnauthorized && g.failed.Operation == e.Operation {
			g.failed = e
		}
		if g.noted != nil && e.Operation == getReferrers {
			g.noted(e)
		}
	}
}

// noteFinal keeps a challenge as a failure until the same is answered: the credential may be refused, and regclient asks for
// something else then.
func noteFinal(req *http.Request, op string, status int) {
	if status == http.StatusUnauthorized {
		noteFailure(req, &Error{Host: req.URL.Host, Operation: op, Status: status, Attempts: 1, Hint: statusHint(status, req.URL.Host), tokenRefused: true})
		return
	}
	if g := guardOf(req); g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.failed != nil && g.failed.Status == http.StatusUnauthorized && g.failed.Operation == op {
			g.failed = nil
		}
	}
}

// took counts what has come of the listing, and room is how much may still come.
func (g *guard) took(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes += int64(n)
}

func (g *guard) room() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(0, maxListing-g.bytes)
}

// guardOf returns the guard of a request of a listing, nil for any other.
func guardOf(req *http.Request) *guard {
	g, _ := req.Context().Value(guarded{}).(*guard)
	return g
}

// askedReferrers tells whether the referrers API was asked.
func (g *guard) askedReferrers() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

func (g *guard) failure() *Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}
