package registry

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/draysync/dray/internal/image"
)

// inPlace is the key under which a context carries the *place of a call.
type inPlace struct{}

// place is one among the requests in flight at a registry, which a call holds from before regclient puts the credential on its
// request until the answer has been read: a token that had to wait in line could end there. It is given back during pauses.
type place struct {
	window *window
	// stays is set where it is kept during pauses: of a call that may hold a lock meanwhile, for which others wait at their places.
	stays bool

	mu   sync.Mutex
	held bool
}

// take waits for the place, unless the call has it.
func (p *place) take(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		return nil
	}
	if err := p.window.acquire(ctx); err != nil {
		return err
	}
	p.held = true
	return nil
}

// leave gives it back, if the call has it.
func (p *place) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		p.held = false
		p.window.release()
	}
}

// takePlace waits for the place of a request: that of its call, which the call leaves, or for one of a request for a token, which leaves
// it with its answer. It returns the window as well.
func (l *limits) takePlace(req *http.Request) (w *window, leave func(), err error) {
	if p := placeHeld(req); p != nil {
		return p.window, func() {}, p.take(req.Context())
	}
	return l.tokens, l.tokens.release, l.tokens.acquire(req.Context())
}

// placeHeld returns the place of a request's call, nil for none: of token requests, whose context regclient makes.
func placeHeld(req *http.Request) *place {
	p, _ := req.Context().Value(inPlace{}).(*place)
	return p
}

// call is one request of a client, or some that belong together.
type call struct {
	repo  image.Repository
	write bool
	// keep leaves the place to do where it succeeds, for an answer that is read later.
	keep bool
	// stays is [place]'s.
	stays bool
	do    func(ctx context.Context, e *endpoint, p *place) error
}

// renewals bounds how often a call is made with tokens that have served others and end before they serve it; freshFor is how long
// no other token is asked for after a new one.
const (
	renewals = 4
	freshFor = 500 * time.Millisecond
)

// run makes a call once there is a place for it. A sign-in that has served and does so no longer is made anew; one that is refused
// when it is used first is a refusal for good.
func (c *Client) run(ctx context.Context, call call) error {
	e, err := c.endpoint(ctx, call.repo)
	if err != nil {
		return err
	}
	for range renewals {
		err = call.at(ctx, e)
		if !refusedToken(err) || e.denied.lately(call.repo) {
			return err
		}
		if !e.served.Load() || time.Since(e.born) < freshFor {
			break
		}
		fresh, renewErr := c.renew(ctx, call.repo, e)
		if renewErr != nil {
			return err
		}
		e = fresh
	}
	e.denied.note(call.repo)
	return err
}

// inEndpoint is the key under which a context carries the *endpoint of a call.
type inEndpoint struct{}

// noteServed notes that a credential has been taken.
func noteServed(req *http.Request, status int) {
	e, ok := req.Context().Value(inEndpoint{}).(*endpoint)
	if ok && status != http.StatusUnauthorized && req.Header.Get("Authorization") != "" {
		e.served.Store(true)
	}
}

// at makes the call at an endpoint.
func (c call) at(ctx context.Context, e *endpoint) error {
	p := &place{window: e.transport.limit.reads, stays: c.stays}
	if c.write {
		p.window = e.transport.limit.writes
	}
	if err := p.take(ctx); err != nil {
		return &Error{Host: e.registry, Operation: "wait for a place", Attempts: 1, Message: err.Error(), plain: true, cause: err}
	}
	ctx = context.WithValue(context.WithValue(ctx, inPlace{}, p), inEndpoint{}, e)
	leave := e.waiters.join(ctx, c.repo.Path)
	err := c.do(ctx, e, p)
	leave()
	if err != nil || !c.keep {
		p.leave()
	}
	if failure, ok := errors.AsType[*Error](err); ok { // also what regclient made of an answer
		hidden := *failure
		hidden.Message, hidden.ErrorCode = e.transport.secrets.hide(failure.Message), e.transport.secrets.hide(failure.ErrorCode)
		err = &hidden
	}
	if refusedToken(err) {
		return e.troubles.behind(err, c.repo.Path)
	}
	return err
}
