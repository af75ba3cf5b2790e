package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// signing is the transport of one endpoint. It notes why tokens could not be had: where regclient knows from earlier how to sign in, it
// passes over that, and all that is left to see is the registry's 401. It ends requests for tokens that nobody waits for: regclient makes
// them without the context of the call that they are for.
type signing struct {
	*transport
	troubles *tokenTroubles
	waiters  *waiters
}

// RoundTrip sends the request.
func (s signing) RoundTrip(req *http.Request) (*http.Response, error) {
	if !tokenRequest(req) {
		return s.transport.RoundTrip(req)
	}
	paths := scopes(req)
	resp, err := s.transport.RoundTrip(req.WithContext(s.waiters.context(paths)))
	failure, _ := errors.AsType[*Error](err)
	s.troubles.note(paths, failure)
	return resp, err
}

// waiters are the calls that may wait for a token, by the path of the repository, and all of them by the empty path.
type waiters struct {
	mu     sync.Mutex
	byPath map[string]*waiting
}

type waiting struct {
	calls  int
	ctx    context.Context //nolint:containedctx // it ends with the last of the calls
	cancel context.CancelFunc
}

// join adds a call until it leaves or its context ends.
func (w *waiters) join(ctx context.Context, path string) (leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byPath == nil {
		w.byPath = map[string]*waiting{}
	}
	for _, p := range []string{path, ""} {
		if w.byPath[p] == nil {
			ctx, cancel := context.WithCancel(context.Background())
			w.byPath[p] = &waiting{ctx: ctx, cancel: cancel}
		}
		w.byPath[p].calls++
	}
	left := sync.OnceFunc(func() { w.leave(path) })
	stop := context.AfterFunc(ctx, left)
	return func() { stop(); left() }
}

func (w *waiters) leave(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range []string{path, ""} {
		if w.byPath[p].calls--; w.byPath[p].calls == 0 {
			w.byPath[p].cancel()
			delete(w.byPath, p)
		}
	}
}

// context returns one that ends when no call waits any more for a token for these repositories. The first is that of the call; the others
// are those that it mounts from.
func (w *waiters) context(paths []string) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range append(slices.Clone(paths), "") {
		if found := w.byPath[p]; found != nil {
			return found.ctx
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	return ended
}

// tokenTroubles are the last failures to get a token, by the path of the repository.
type tokenTroubles struct {
	mu     sync.Mutex
	byPath map[string]*Error
}

// maxTroubles bounds the repositories that are remembered.
const maxTroubles = 10_000

// note keeps a failure, or with nil forgets the last one.
func (t *tokenTroubles) note(paths []string, failure *Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, path := range paths {
		switch {
		case failure == nil:
			delete(t.byPath, path)
		case t.byPath == nil || len(t.byPath) >= maxTroubles:
			t.byPath = map[string]*Error{path: failure}
		default:
			t.byPath[path] = failure
		}
	}
}

// behind returns the failure to get a token that is behind a refusal, other than that the credential was refused; else the refusal.
func (t *tokenTroubles) behind(refusal error, path string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if failure := t.byPath[path]; failure != nil && failure.Status != http.StatusUnauthorized {
		return failure
	}
	return refusal
}

// scopes returns the paths of the repositories that a token is asked for (distribution's token authentication, "Requesting a Token").
func scopes(req *http.Request) []string {
	values := req.URL.Query()["scope"]
	if req.GetBody != nil {
		if body, err := req.GetBody(); err == nil {
			raw, _ := io.ReadAll(io.LimitReader(body, maxErrorBody)) // of memory
			form, _ := url.ParseQuery(string(raw))
			values = append(values, form["scope"]...)
		}
	}
	var paths []string
	for _, value := range values {
		for scope := range strings.FieldsSeq(value) {
			if kind, rest, _ := strings.Cut(scope, ":"); kind == "repository" {
				if i := strings.LastIndex(rest, ":"); i > 0 {
					paths = append(paths, rest[:i])
				}
			}
		}
	}
	return paths
}
