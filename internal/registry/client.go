package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/flight"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/wire"
)

// Error is the final failure of a request to a registry.
type Error = wire.Error

// Retries configures retries.
type Retries = wire.Retries

// Host says how to connect to one registry.
type Host = wire.Host

// Bandwidth limits the bytes of blobs per second.
type Bandwidth = wire.Bandwidth

// Options of a [Client].
type Options struct {
	// Hosts are the configured registries, by canonical host.
	Hosts map[string]Host
	// Mirrors have the content of a registry by digest: hosts, or host/path prefixes of its repositories.
	Mirrors map[string][]string
	// Keychain finds the credentials.
	Keychain auth.Keychain
	// Retries configures retries.
	Retries Retries
	// Bandwidth returns what limits a registry's blobs; nil for no limits.
	Bandwidth func(registry string) []*Bandwidth
	// Wrap wraps the transport of each registry, for rate limits, metrics, or faults in tests. It may replace it; nil for none.
	Wrap func(registry string, next http.RoundTripper) http.RoundTripper
	// UserAgent is sent with every request.
	UserAgent string
	// Keep stores each manifest that was fetched by digest, while its request still holds its slot: a killed process loses no more paid
	// manifests than it had in flight. Its errors are logged. nil for none.
	Keep func(context.Context, image.Manifest) error
	// ByHead are the registries whose own listings are not used: each tag is asked for by HEAD.
	ByHead map[string]bool
	// Make makes repositories of a registry, by its canonical host: those into which an upload was refused since they do not exist. Registries
	// without an entry are left alone.
	Make map[string]func(ctx context.Context, repo image.Repository) error
	// ECR lists the tags of a repository of a private registry of Amazon ECR through AWS's API, in at most so many requests, and passes each to
	// each with its digest. nil for no such listings.
	ECR func(ctx context.Context, repo image.Repository, requests int, each func(tag, digest string)) error
	// Hub uses the listings of Docker Hub's own API, which are late.
	Hub bool
	// Sharers returns how many processes share what Hosts limit, at least one; nil for one. It must not block.
	Sharers func() int
	// Temp is a folder for files without a name, of what long listings say. Where none can be made, they are in the system's.
	Temp string
	// Findings keeps what is known of listings across restarts. nil for none.
	Findings Findings
	Log      *slog.Logger
}

// Client serves all registries and layouts of a config. It is safe for concurrent use.
type Client struct {
	options Options
	layouts *layout.Store
	// named caches the tags that are named for a digest, per repository; types the media types of manifests that a registry sends without
	// one; closed why repositories accept no writes, such as those of a pull-through cache: what holds for one blob holds for all.
	named wire.Recent[image.Repository, []string]
	// unlisted are refusals to list tags.
	unlisted wire.Recent[image.Repository, error]
	naming   flight.Group[[]string]
	types    wire.Recent[image.Digest, image.Descriptor]
	closed   wire.Recent[image.Repository, error]
	// mounted are the blobs that a registry said it has mounted.
	mounted wire.Recent[image.Reference, struct{}]
	mirrors mirrors
	// making shares the making of a repository, made keeps how it ended.
	making   flight.Group[struct{}]
	made     wire.Recent[image.Repository, error]
	findings findings
	// read are digests that lists of tags have named.
	read readLists

	mu        sync.Mutex
	endpoints map[string]*endpoint
	// hosts are shared by the endpoints of one registry: connections and limits belong to the host, not to the credential.
	hosts map[string]*host
}

// host is one registry, shared by all credentials.
type host struct {
	wire    *wire.Transport
	profile *uploadProfile
	// head is what is known about its HEAD, seen the kind of its lister as its answers tell; nil for none yet.
	head atomic.Int32
	// proved is set once a manifest that was pushed has been found there; proving is closed when the first question for one has an answer.
	proved   atomic.Bool
	proving  atomic.Pointer[chan struct{}]
	taken    takenBlobs
	seen     atomic.Pointer[string]
	unlisted unlisted
}

// endpoint is one registry with one credential.
type endpoint struct {
	*host
	registry string
	auth     *auth.Client
	// signing shares the question whether the account can sign in, signsIn its answer.
	signing   flight.Group[bool]
	signsIn   wire.Recent[struct{}, bool]
	agent     string
	keep      func(context.Context, image.Manifest)
	referrers referrersAPI
	lists     fallbackLists
}

// The defaults of wire.Host.Concurrency, and the initial number of requests in flight. Docker Hub answers a burst of cold connections with
// 429s, so it starts with fewer.
const (
	defaultConcurrency = 16
	hubConcurrency     = 6
	startConcurrency   = 4
	hubStart           = 1
)

// How long findings are cached: lists of tags and sign-ins, repositories that accept no writes, and facts that do not change.
const (
	recentFor = time.Minute
	closedFor = time.Minute
	longFor   = 24 * time.Hour
)

// New checks the hosts' files and returns a client. It sends no request.
func New(options Options) (*Client, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Bandwidth == nil {
		options.Bandwidth = func(string) []*Bandwidth { return nil }
	}
	c := &Client{
		options: options, layouts: layout.New(), endpoints: map[string]*endpoint{}, hosts: map[string]*host{},
		findings: findings{kept: options.Findings, log: options.Log},
	}
	for registry := range options.Hosts {
		h, err := c.newHost(registry)
		if err != nil {
			return nil, err
		}
		c.hosts[registry] = h
	}
	return c, nil
}

// keep stores a manifest that has arrived, even if the caller is cancelled meanwhile.
func (c *Client) keep(ctx context.Context, m image.Manifest) {
	if c.options.Keep == nil {
		return
	}
	if err := c.options.Keep(context.WithoutCancel(ctx), m); err != nil {
		c.options.Log.LogAttrs(ctx, slog.LevelDebug, "the store did not answer; going on without it", slog.Any("err", err))
	}
}

// newHost makes what all requests to a registry share. It fails only if the config names unusable files.
func (c *Client) newHost(registry string) (*host, error) {
	start, most := startConcurrency, defaultConcurrency
	if registry == image.DockerHub {
		start, most = hubStart, hubConcurrency
	}
	h := &host{profile: newUploadProfile(uploadingOf(registry))}
	carrier, err := wire.New(wire.Options{
		Name: registry, API: apiHost(registry), Host: c.options.Hosts[registry], Start: start, Most: most, Sharers: c.options.Sharers,
		Retries: c.options.Retries, Bandwidth: c.options.Bandwidth(registry), Log: c.options.Log,
		Wrap: func(registry string, next http.RoundTripper) http.RoundTripper {
			if c.options.Wrap != nil {
				next = c.options.Wrap(registry, next)
			}
			return recognising{next, h, apiHost(registry)}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("registries.%s.tls: %w", registry, err)
	}
	h.wire = carrier
	if registry == image.DockerHub {
		h.head.Store(serves)
	}
	return h, nil
}

// apiHost returns the host that serves a registry's API.
func apiHost(registry string) string {
	if registry == image.DockerHub {
		return "registry-1.docker.io"
	}
	return registry
}

// endpoint returns the endpoint of a repository, and makes it on first use.
func (c *Client) endpoint(repo image.Repository) *endpoint {
	name, source := c.options.Keychain.Find(repo)
	key := repo.Registry + " " + name
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.endpoints[key]; ok {
		return e
	}
	h, ok := c.hosts[repo.Registry]
	if !ok {
		h, _ = c.newHost(repo.Registry) // the config names no files for it
		c.hosts[repo.Registry] = h
	}
	find := func(ctx context.Context) (auth.Credential, time.Time, error) { return source(ctx, repo) }
	e := &endpoint{
		host: h, registry: repo.Registry, agent: c.options.UserAgent, keep: c.keep,
		auth: auth.New(h.wire, find, repo.Registry == image.DockerHub, c.options.Log),
	}
	c.endpoints[key] = e
	return e
}

// request makes a request of the distribution spec, with a path below /v2/. A body can be sent again.
func (e *endpoint) request(ctx context.Context, method, path string, query url.Values, body []byte) *http.Request {
	place := &url.URL{Scheme: "https", Host: e.wire.Host(), Path: "/v2/" + path, RawQuery: query.Encode()}
	req := (&http.Request{Method: method, URL: place, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if e.agent != "" {
		req.Header.Set("User-Agent", e.agent)
	}
	if body != nil {
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody() // in memory
	}
	return req
}

// refused is an error of an unusable or unrequested answer.
func (e *endpoint) refused(operation string, cause error, text string, args ...any) *Error {
	return &Error{Host: e.registry, Operation: operation, Attempts: 1, Message: fmt.Sprintf(text, args...), Lasting: true, Cause: cause}
}

// SignIn checks that the registry of repo answers and accepts the configured credential. It returns the account's name; empty for none.
func (c *Client) SignIn(ctx context.Context, repo image.Repository) (string, error) {
	if repo.IsLayout() {
		return "", nil
	}
	e := c.endpoint(repo)
	account, err := e.auth.Account(ctx)
	if err != nil {
		return "", err
	}
	page := false
	read := func(resp *http.Response) error {
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxIgnored))
		page = isPage(raw)
		return err //nolint:wrapcheck // the wire says what broke
	}
	resp, err := e.auth.Do(e.request(ctx, http.MethodGet, "", nil, nil), wire.Call{Operation: "sign in", Deadline: callDeadline, Read: read})
	if err != nil {
		return account, err
	}
	if page {
		return account, e.refused("sign in", nil, "it is no registry that answers at /v2/, but %s", kindOf([]byte("<"), ""))
	}
	return account, resp.Body.Close()
}

// callDeadline limits a short call, with all retries and pauses.
const callDeadline = 5 * time.Minute

// nothing discards an answer.
func nothing(resp *http.Response) error {
	_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxIgnored))
	return err //nolint:wrapcheck // the wire says what broke
}

const maxIgnored = 64 << 10

// Close closes the connections, and remembers which registries list digests.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for registry, h := range c.hosts {
		h.wire.CloseIdleConnections()
		if kind := h.seen.Load(); kind != nil {
			c.noteKind(context.Background(), registry, *kind)
		}
	}
	return nil
}

// SignsIn reports whether requests for a repository carry a credential, as far as one was found.
func (c *Client) SignsIn(repo image.Repository) bool {
	name, _ := c.options.Keychain.Find(repo)
	c.mu.Lock()
	e := c.endpoints[repo.Registry+" "+name]
	c.mu.Unlock()
	if e == nil {
		return false
	}
	account, _ := e.auth.Known()
	return account != ""
}

// Accounts returns as whom requests to a registry are signed, as far as it is known, sorted by the part of the registry.
func (c *Client) Accounts(registry string) (all []record.Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.endpoints {
		if e.registry != registry {
			continue
		}
		if name, known := e.auth.Known(); known {
			part := key[strings.LastIndexByte(key, ' ')+1:] // without the file of the credential store
			all = append(all, record.Account{Part: part, Name: name})
		}
	}
	slices.SortFunc(all, func(a, b record.Account) int { return strings.Compare(a.Part, b.Part) })
	return all
}

// Lacking returns the missing program that would supply the credential of a repository; empty for none.
func (c *Client) Lacking(repo image.Repository) string { return c.options.Keychain.Lacking(repo) }

// Account names the registry of repo, or the part of it that has a credential of its own.
func (c *Client) Account(repo image.Repository) string {
	if name := c.options.Keychain.Name(repo); name != "" {
		return name
	}
	return repo.Registry
}
