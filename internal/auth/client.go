package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/draysync/dray/internal/wire"
)

// Client sends requests to one registry for one account.
type Client struct {
	wire *wire.Transport
	home *signer
	log  *slog.Logger

	mu sync.Mutex
	// others are hosts that the registry has led to and that want tokens of their own, which they give to anyone.
	others map[string]*signer
}

// New returns a client for a registry; locks says that wrong passwords lock an account there.
func New(carrier *wire.Transport, source func(ctx context.Context) (Credential, time.Time, error), locks bool, log *slog.Logger) *Client {
	home := &signer{wire: carrier, source: source, locks: locks, log: log, home: true}
	return &Client{wire: carrier, home: home, log: log, others: map[string]*signer{}}
}

// Account returns the account's name; empty for anonymous.
func (c *Client) Account(ctx context.Context) (string, error) {
	credential, err := c.home.find(ctx)
	return credential.Account(), err
}

// Known returns the account's name; empty for anonymous. known is false before the credential was found.
func (c *Client) Known() (account string, known bool) {
	c.home.mu.Lock()
	defer c.home.mu.Unlock()
	return c.home.credential.Account(), c.home.known
}

const (
	maxRedirects = 10
	maxOthers    = 1000
)

// Do sends a request, with the credential if the registry asks for one, and follows redirects. The credential stays at the registry: other
// hosts get anonymous requests, and only reads. If a link that it redirects to is refused, it asks once more: the link may have expired.
func (c *Client) Do(req *http.Request, call wire.Call, need ...Scope) (*http.Response, error) {
	first, renewed := req, false
	for range maxRedirects {
		resp, err := c.send(req, call, need)
		if req != first && refusesLink(req, err) {
			if !renewed {
				req, renewed = first, true
				continue
			}
			return nil, c.blame(req, first, err)
		}
		if err != nil {
			return nil, c.blame(req, first, err)
		}
		if resp.StatusCode < http.StatusMultipleChoices {
			return resp, nil
		}
		if req, err = c.follow(req, resp); err != nil {
			return nil, c.wire.Fault(call.Operation, err)
		}
	}
	return nil, c.wire.Fault(call.Operation, fmt.Errorf("it redirects more than %d times, the last time to %s", maxRedirects, wire.ShownHost(req.URL.Host)))
}

func (c *Client) send(req *http.Request, call wire.Call, need []Scope) (*http.Response, error) {
	switch {
	case req.URL.Host == c.wire.Host():
		return c.home.do(req, call, need)
	case req.Method == http.MethodGet || req.Method == http.MethodHead:
		return c.other(req.URL.Host).do(req, call, need)
	}
	return c.wire.Do(req, call)
}

// refusesLink reports whether an error may be due to a signed link, which is a URL with a query, that is no longer valid.
func refusesLink(req *http.Request, err error) bool {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok || req.URL.RawQuery == "" || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	}
	return false
}

// blame adds to the error of a request where the registry has led it: what another host refuses is no refusal of the account, and a page such as of a
// sign-in is not what was asked for.
func (c *Client) blame(req, first *http.Request, err error) error {
	e, ok := errors.AsType[*wire.Error](err)
	foreign := req.URL.Host != c.wire.Host()
	if !ok || !foreign && req.URL.Path == first.URL.Path {
		return err
	}
	led := *e
	place := wire.Clean(req.URL.Host + req.URL.Path) // a query may be a signature
	switch refused := e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden; {
	case refused && !foreign:
	case refused && req == first: // an upload's Location
		led.Hint = wire.Clean(req.URL.Host) + " refuses the upload to which " + c.wire.Name() + " has led, and gets no credential from dray: see to the storage of " + c.wire.Name()
	case refused:
		led.Hint = wire.Clean(req.URL.Host) + " refuses the link that the registry gave, and gets no credential from dray: see to the storage of " + c.wire.Name()
	case req == first || e.Status == 0 && !e.Unanswered:
	case e.Hint == "":
		led.Hint = c.wire.Name() + " redirected to " + place
	default:
		led.Hint += "; " + c.wire.Name() + " redirected to " + place
	}
	return &led
}

// other returns the anonymous signer for a host that the registry has led to.
func (c *Client) other(host string) *signer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.others[host]; ok {
		return s
	}
	if len(c.others) >= maxOthers {
		clear(c.others)
	}
	nobody := func(context.Context) (Credential, time.Time, error) { return Credential{}, time.Time{}, nil }
	s := &signer{wire: c.wire, source: nobody, log: c.log}
	c.others[host] = s
	return s
}

// follow makes the request to which an answer redirects. Writes stay at the same host.
func (c *Client) follow(req *http.Request, resp *http.Response) (*http.Request, error) {
	location, err := req.URL.Parse(resp.Header.Get("Location"))
	if err != nil { // its text may contain a signature
		return nil, errors.New("it redirects to an invalid URL")
	}
	to, err := c.wire.Allowed(location)
	if err != nil {
		return nil, err
	}
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	again := resp.StatusCode == http.StatusTemporaryRedirect || resp.StatusCode == http.StatusPermanentRedirect
	if !reads && (to.Host != req.URL.Host || !again || req.Body != nil && req.GetBody == nil) {
		return nil, fmt.Errorf("it redirects a %s to %s, which is not followed", req.Method, wire.Clean(to.Host))
	}
	next := req.Clone(req.Context())
	next.URL, next.Host = to, ""
	return next, nil
}

// DoWith sends a request to the registry itself with the user's name and password, or with none if anonymous is set, whatever the registry asks
// for elsewhere: for APIs that do not take its tokens. It follows no redirect.
func (c *Client) DoWith(req *http.Request, call wire.Call, anonymous bool) (resp *http.Response, err error) {
	if req.URL.Host != c.wire.Host() {
		return nil, c.wire.Fault(call.Operation, errors.New("its list leads to another host"))
	}
	if !anonymous {
		credential, err := c.home.find(req.Context())
		if err != nil {
			return nil, err
		}
		call.Secrets = credential.secrets
		if !credential.Anonymous() && credential.IdentityToken == "" {
			call.Sign = func(attempt *http.Request) error {
				attempt.SetBasicAuth(credential.Username, credential.Password)
				return nil
			}
		}
	}
	if resp, err = c.wire.Do(req, call); err == nil && resp.StatusCode >= http.StatusMultipleChoices {
		return nil, c.wire.Fault(call.Operation, errors.New("it redirects"))
	}
	return resp, err
}
