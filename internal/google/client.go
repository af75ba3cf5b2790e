package google

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/dial"
	"github.com/draysync/dray/internal/flight"
)

// Options of a [Client].
type Options struct {
	// Getenv reads the environment: GOOGLE_APPLICATION_CREDENTIALS, HOME (or APPDATA) and GCE_METADATA_HOST.
	Getenv func(string) string
	// HTTP sends all requests; nil for one with Proxy.
	HTTP http.RoundTripper
	// Proxy returns the proxy of a request; nil for none.
	Proxy func(*http.Request) (*url.URL, error)
}

// Identity says who asks for a token. The zero value is whom the Application Default Credentials name.
type Identity struct {
	// File has credentials: of a service account, of a user, or of workload identity federation. It is empty for the default.
	File string
	// Impersonate is the e-mail address of a service account to act as; empty for none.
	Impersonate string
}

// Client gets tokens. It is safe for concurrent use.
type Client struct {
	options  Options
	fetching flight.Group[Token]

	mu   sync.Mutex
	last map[Identity]Token
}

// Token is a user and a password for all of Google's registries, and for how long they last.
type Token struct {
	Username, Password string
	// Renew is when to ask for the next one.
	Renew time.Time

	account string // the service account; empty if it is not known
	machine bool   // it is this machine's
	ends    time.Time
}

const (
	// username goes with an access token as the password ("Set up authentication for Docker" in the docs of Artifact Registry).
	username = "oauth2accesstoken"
	// scope is all that the identity may do, which is what pushing takes; its rights are IAM's.
	scope = "https://www.googleapis.com/auth/cloud-platform"

	// requestTimeout limits one request, fetchTimeout how long a failed one is tried again.
	requestTimeout, fetchTimeout = 20 * time.Second, 30 * time.Second
	// usualLife is the lifetime of a token whose answer does not say it.
	usualLife = time.Hour
	// margin is how long before its end a token is replaced.
	margin = 5 * time.Minute
	// retryAfter is the pause before the next attempt to replace a token that is still valid.
	retryAfter = time.Minute
)

// New returns a client. It sends no request and reads no file.
func New(o Options) *Client {
	if o.HTTP == nil {
		o.HTTP = dial.Transport(o.direct)
	}
	return &Client{options: o, last: map[Identity]Token{}}
}

// direct returns the proxy of a request; none for the metadata service, which is nothing for a proxy.
func (o Options) direct(r *http.Request) (*url.URL, error) {
	host := r.URL.Hostname()
	address, err := netip.ParseAddr(host)
	if o.Proxy == nil || err == nil && address.IsLinkLocalUnicast() || r.URL.Host == o.metadataHost() {
		return nil, nil //nolint:nilnil // none
	}
	return o.Proxy(r)
}

// Token returns a new token, fetched once for all who wait for one of the same identity. After a failure the last one is returned while it is
// valid. The error is an [Error], or that of the context.
func (c *Client) Token(ctx context.Context, as Identity) (Token, error) {
	got, err := c.fetching.Do(ctx, as.File+"\n"+as.Impersonate, func(ctx context.Context) (Token, error) {
		got, err := c.fetch(ctx, as)
		if err == nil {
			c.mu.Lock()
			c.last[as] = got // and not by those who wait, one of whom may come after the next token
			c.mu.Unlock()
		}
		return got, err
	})
	if err == nil {
		return got, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, now := c.last[as], time.Now(); ctx.Err() == nil && now.Before(last.ends) {
		last.Renew = now.Add(min(retryAfter, last.ends.Sub(now)))
		return last, nil
	}
	return Token{}, err
}

// pauses between attempts.
var pauses = backoff.Backoff{First: time.Second, Max: 8 * time.Second}

// fetch gets a token. It reads the environment and the files anew each time: tokens last for an hour.
func (c *Client) fetch(ctx context.Context, as Identity) (Token, error) {
	for begun, try := time.Now(), 1; ; try++ {
		s := c.newSession()
		got, err := s.token(ctx, as)
		if err == nil {
			return got, nil
		}
		if ctx.Err() != nil {
			return Token{}, context.Cause(ctx)
		}
		e := s.explain(err)
		if pause := pauses.Pause(try); !e.temporary || time.Since(begun)+pause > fetchTimeout || backoff.Sleep(ctx, pause) != nil {
			return Token{}, e
		}
	}
}

// token makes one attempt.
func (s *session) token(ctx context.Context, as Identity) (Token, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.client())
	found, account, err := s.find(ctx, as.File)
	if err == nil && as.Impersonate != "" {
		found, err = s.impersonate(ctx, found, as.Impersonate)
		account = as.Impersonate
	}
	switch {
	case err != nil:
		return Token{}, err
	case found.AccessToken == "":
		return Token{}, errNoToken
	}
	now := time.Now()
	left := found.Expiry.Sub(now)
	if left <= 0 || left > usualLife { // it does not say, or this machine's clock is wrong
		left = usualLife
	}
	return Token{Username: username, Password: found.AccessToken, Renew: now.Add(left - min(margin, left/2)), account: account, machine: s.machine, ends: now.Add(left)}, nil
}

// Who returns the service account that has got the last token; empty if there is no token, or nobody says.
func (c *Client) Who(ctx context.Context, as Identity) string {
	c.mu.Lock()
	last := c.last[as]
	c.mu.Unlock()
	if !last.machine || last.account != "" {
		return last.account
	}
	return c.newSession().email(ctx)
}
