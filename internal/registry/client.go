package registry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regclient/regclient/config"
	"github.com/regclient/regclient/scheme/reg"
	"github.com/regclient/regclient/types/ref"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// Options of a [Client].
type Options struct {
	// Hosts are the configured registries, by canonical host, or by host/path for a part of one.
	Hosts map[string]Host
	// Credentials answers for hosts without a configured sign-in; nil for none.
	Credentials *Credentials
	// RefreshToken returns the token that signs in to a registry whose Host says so, and when it lapses; required where one does.
	RefreshToken func(ctx context.Context, registry string) (token string, expires time.Time, err error)
	// Retries is how requests are tried again.
	Retries Retries
	// Wrap goes around the transport of each registry: rate limits, metrics, or faults in tests. It may replace the
	// transport altogether; nil for none.
	Wrap func(registry string, next http.RoundTripper) http.RoundTripper
	// UserAgent is sent with every request.
	UserAgent string
	Log       *slog.Logger
}

// Client talks to all registries and layouts of a config. It is safe for concurrent use.
type Client struct {
	options Options
	layouts *layout.Store
	recent  *recentTags
	mirrors *mirrors

	closed closed

	mu        sync.Mutex
	endpoints map[string]*endpoint
	// learned outlasts the endpoints of the same key.
	learned map[string]*learned
	// hosts are shared by the endpoints of one registry: connections and limits belong to the host, not to the credential.
	hosts map[string]*transport
}

// endpoint is one registry seen with one credential.
type endpoint struct {
	registry string
	username string
	expires  time.Time
	reg      *reg.Reg
	// transport is what carries its requests.
	transport *transport
	// key is its place among the endpoints, and born when it took it.
	key  string
	born time.Time
	// served is set once the registry has taken the credential.
	served   atomic.Bool
	troubles tokenTroubles
	waiters  waiters
	*learned
}

// learned is what an account has found out about its registry.
type learned struct {
	referrers referrersAPI
	denied    denials
}

// helperLifetime is how long a credential of the credential store is used before it is asked for again: helpers hand out
// tokens that end, Amazon's after twelve hours.
const helperLifetime = time.Hour

// New checks the hosts' files and returns a client. No registry is asked yet.
func New(options Options) (*Client, error) {
	c := &Client{options: options, layouts: layout.New(), recent: newRecentTags(), mirrors: newMirrors(), endpoints: map[string]*endpoint{}, learned: map[string]*learned{}, hosts: map[string]*transport{}}
	c.options.Retries = options.Retries.withDefaults()
	if c.options.Log == nil {
		c.options.Log = slog.New(slog.DiscardHandler)
	}
	for key := range options.Hosts {
		if _, err := c.transport(registryOf(key)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func registryOf(key string) string {
	host, _, _ := strings.Cut(key, "/")
	return host
}

// transport returns what carries requests to a registry. The caller need not hold the lock.
func (c *Client) transport(registry string) (*transport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.hosts[registry]; ok {
		return t, nil
	}
	host := c.options.Hosts[registry]
	base, err := host.roundTripper(registry)
	if err != nil {
		return nil, err
	}
	t := &transport{
		base: base, host: registry, limit: host.limits(registry), habits: newHabits(uploadingOf(registry)), retries: c.options.Retries,
		health: newHealth(), refused: newRefusals(registry == image.DockerHub), log: c.options.Log, plainHTTP: host.PlainHTTP, tryPlain: loopback(registry) && !host.configured(),
	}
	if c.options.Wrap != nil {
		t.base = c.options.Wrap(registry, base)
	}
	c.hosts[registry] = t
	return t, nil
}

// sign returns the key of the hosts entry whose sign-in holds for a repository: the longest that matches.
func (c *Client) sign(repo image.Repository) string {
	found := ""
	prefixes(repo, func(name string) bool {
		if _, ok := c.options.Hosts[name]; ok {
			found = name
		}
		return found != ""
	})
	return found
}

// endpoint returns the endpoint for a repository, made on first use.
func (c *Client) endpoint(ctx context.Context, repo image.Repository) (*endpoint, error) {
	key := c.sign(repo)
	host := c.options.Hosts[key]
	credential := Credential{Username: host.Username, Password: host.Password, IdentityToken: host.IdentityToken}
	cacheKey := c.endpointKey(repo)
	c.mu.Lock()
	e, ok := c.endpoints[cacheKey]
	c.mu.Unlock()
	if ok && (e.expires.IsZero() || time.Now().Before(e.expires)) {
		return e, nil
	}
	e = &endpoint{registry: repo.Registry, key: cacheKey, born: time.Now()}
	if host.CredentialHelper != "" || !host.signsIn() {
		var err error
		if host.CredentialHelper != "" {
			credential, err = askHelper(ctx, host.CredentialHelper, serverName(repo.Registry))
		} else {
			credential, err = c.options.Credentials.Lookup(ctx, repo)
		}
		if err != nil {
			return nil, &Error{Host: repo.Registry, Operation: "credentials", Message: clean(err.Error()), plain: true, cause: permanentError{err}}
		}
		e.expires = time.Now().Add(helperLifetime)
	}
	if host.RefreshToken {
		token, expires, err := c.options.RefreshToken(ctx, repo.Registry)
		if err != nil {
			return nil, signInFailed(repo.Registry, err)
		}
		credential, e.expires = Credential{Username: entraAccount, IdentityToken: token}, expires
	}
	t, err := c.transport(repo.Registry)
	if err != nil {
		return nil, err
	}
	e.username, e.transport = credential.account(), t
	e.reg = c.newReg(repo.Registry, credential, signing{t, &e.troubles, &e.waiters})
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.endpoints[cacheKey]; ok && (other.expires.IsZero() || time.Now().Before(other.expires)) {
		return other, nil // another goroutine was first; one endpoint has one set of tokens
	}
	if c.learned[cacheKey] == nil {
		c.learned[cacheKey] = &learned{}
	}
	e.learned = c.learned[cacheKey]
	c.endpoints[cacheKey] = e
	return e, nil
}

// entraAccount is what the account is called of a registry that is signed in to by a token of Entra.
const entraAccount = "Entra ID"

// signInFailed is the error of a sign-in that could not be made, with what that says of itself.
func signInFailed(registry string, err error) *Error {
	e := &Error{Host: registry, Operation: "sign in", Attempts: 1, Message: clean(err.Error()), plain: true, cause: err}
	if coded, ok := errors.AsType[interface {
		error
		Code() string
	}](err); ok {
		e.ErrorCode = strings.ToUpper(strings.ReplaceAll(coded.Code(), "-", "_"))
	}
	if hinted, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		e.Hint = hinted.Hint()
		e.Message = clean(strings.TrimSuffix(err.Error(), "; "+e.Hint))
	}
	if lasting, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err); ok && !lasting.Temporary() {
		e.cause = permanentError{err}
	}
	return e
}

// newReg sets regclient up so that it neither retries, nor waits, nor limits: all of that is the transport's.
func (c *Client) newReg(registry string, credential Credential, t http.RoundTripper) *reg.Reg {
	host := config.HostNewName(registry)
	host.User, host.Pass, host.Token = credential.Username, credential.Password, credential.IdentityToken
	host.RepoAuth = true
	host.ReqConcurrent = 0
	host.TLS = config.TLSEnabled
	if c.options.Hosts[registry].PlainHTTP {
		host.TLS = config.TLSDisabled
	}
	return reg.New(
		reg.WithConfigHosts([]*config.Host{host}),
		reg.WithHTTPClient(&http.Client{Transport: t}),
		reg.WithRetryLimit(1),
		reg.WithDelay(time.Nanosecond, time.Nanosecond),
		reg.WithUserAgent(c.options.UserAgent),
		reg.WithSlog(slog.New(slog.DiscardHandler)),
	)
}

// reference makes regclient's form of a reference.
func reference(r image.Reference) ref.Ref {
	out := ref.Ref{Scheme: "reg", Registry: r.Registry, Repository: r.Path, Tag: r.Tag, Digest: string(r.Digest)}
	if out.Digest != "" {
		out.Tag = ""
	}
	out.Reference = r.String()
	return out
}

// SignIn makes sure that the registry of repo answers and takes the credential that is configured for it, and returns the
// account's name; empty for none.
func (c *Client) SignIn(ctx context.Context, repo image.Repository) (string, error) {
	if repo.IsLayout() {
		return "", nil
	}
	e, err := c.endpoint(ctx, repo)
	if err != nil {
		return "", err
	}
	ping := call{repo: repo, do: func(ctx context.Context, e *endpoint, _ *place) error {
		_, err := e.reg.Ping(ctx, reference(image.Reference{Repository: repo}))
		return wrap("sign in", repo.Registry, err)
	}}
	return e.username, ping.at(ctx, e)
}

// Close gives the connections back.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.hosts {
		if closer, ok := t.base.(interface{ CloseIdleConnections() }); ok {
			closer.CloseIdleConnections()
		}
	}
	return nil
}

// SignsIn tells whether requests for a repository carry a credential, as far as one was made.
func (c *Client) SignsIn(repo image.Repository) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.endpoints[c.endpointKey(repo)]
	return e != nil && e.username != ""
}

// endpointKey is the place of a repository's endpoint among the others.
func (c *Client) endpointKey(repo image.Repository) string {
	key := c.sign(repo)
	if !c.options.Hosts[key].signsIn() {
		key = c.options.Credentials.key(repo)
	}
	return repo.Registry + " " + key
}

// Account names the registry of repo, or the part of it that has a configured sign-in of its own.
func (c *Client) Account(repo image.Repository) string {
	if key := c.sign(repo); key != "" {
		return key
	}
	return repo.Registry
}
