package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	// failed keeps the first failure of a request, which regclient drops where it falls back to something else.
	failed *Error
}

// maxPages bounds a listing: 10,000 pages of 100 tags are a million.
const maxPages = 10_000

func withGuard(ctx context.Context) (context.Context, *guard) {
	g := &guard{}
	return context.WithValue(ctx, guarded{}, g), g
}

func guardOrigin(req *http.Request) error {
	g, ok := req.Context().Value(guarded{}).(*guard)
	if !ok || tokenRequest(req) {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pages++
	if req.Response != nil || g.host == "" { // a redirect is the registry's own answer; the first request is ours
		g.host = req.URL.Host
	}
	e := &Error{Host: g.host, Operation: operation(req), Attempts: 1, cause: permanentError{errors.New("listing refused")}}
	if g.host != req.URL.Host {
		e.Message = fmt.Sprintf("the next page is said to lie at another host, %s; not followed", clean(req.URL.Host))
		return e
	}
	if g.pages > maxPages {
		e.Message = fmt.Sprintf("the list has more than %d pages", maxPages)
		return e
	}
	return nil
}

// noteFailure keeps the first failure of a request of a listing.
func noteFailure(req *http.Request, e *Error) {
	g, ok := req.Context().Value(guarded{}).(*guard)
	if !ok || tokenRequest(req) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed == nil {
		g.failed = e
	}
}

func (g *guard) failure() *Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}
