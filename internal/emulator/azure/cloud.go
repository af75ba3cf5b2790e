package azure

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
)

// Options of a [Cloud]. The zero value is the public cloud without anything outside.
type Options struct {
	Domains Domains
	// Outside are the registries that are no part of this cloud, by host: imports pull from them, and so may clients of
	// [Cloud.Transport]. Docker Hub is "docker.io" or any of its other names, one is enough.
	Outside map[string]http.Handler
	// Takes is how long an import takes, 0 for 10 seconds; a [Behavior] may say otherwise.
	Takes time.Duration
	// Skew is how far the cloud's clock is ahead of the clients'.
	Skew time.Duration
	// Writes and Reads are what the Resource Manager allows a principal in a subscription; zero is 200 and 10 a second,
	// and 250 and 25 a second.
	Writes, Reads Bucket
	// EntraTTL, RefreshTTL and AccessTTL are how long Entra's tokens, a registry's refresh tokens and its access tokens
	// live; 0 for 1 hour, 3 hours and 75 minutes.
	EntraTTL, RefreshTTL, AccessTTL time.Duration
	// PageSize is the most registries that one answer lists; 0 is no limit.
	PageSize int
	// NoGraph answers 404 where Resource Graph would, as an Azure of one's own may.
	NoGraph bool
}

// Cloud is all of an Azure. Everything is safe for concurrent use.
type Cloud struct {
	// Management, Login and Metadata log the requests to the Resource Manager, to Entra and to the metadata service, and
	// take faults.
	Management, Login, Metadata *registry.Gate

	options Options
	key     []byte
	ctx     context.Context // ends with Close, and all imports with it
	end     context.CancelFunc
	running sync.WaitGroup

	mu            sync.Mutex
	tenants       map[string]*Tenant
	subscriptions map[string]*Subscription
	registries    []*Registry
	identities    []*App
	grants        []grant
	aliases       map[string]string // host:port of a loopback server to the host it stands for
	traps         map[string]bool   // hosts that only a Location names
	behaviors     []*armed
	operations    map[string]*operation
	history       []*operation
	buckets       map[string]*level
	secrets       map[string]secret
	leaks         []Leak
	polls         int
	early         int
	highest       map[string]int // most imports at a time by target registry
}

// New returns a cloud without tenants. Close it.
func New(options Options) *Cloud {
	if options.Domains.Management == "" {
		options.Domains = PublicDomains()
	}
	setDefault(&options.Takes, 10*time.Second)
	setDefault(&options.EntraTTL, time.Hour)
	setDefault(&options.RefreshTTL, 3*time.Hour)
	setDefault(&options.AccessTTL, 75*time.Minute)
	setDefault(&options.Writes, Bucket{200, 10})
	setDefault(&options.Reads, Bucket{250, 25})
	c := &Cloud{
		options: options, key: []byte(rand.Text()),
		tenants: map[string]*Tenant{}, subscriptions: map[string]*Subscription{},
		aliases: map[string]string{}, traps: map[string]bool{},
		operations: map[string]*operation{}, buckets: map[string]*level{},
		secrets: map[string]secret{}, highest: map[string]int{},
	}
	c.ctx, c.end = context.WithCancel(context.Background())
	c.Management = registry.NewGate(http.HandlerFunc(c.serveManagement))
	c.Login = registry.NewGate(http.HandlerFunc(c.serveLogin))
	c.Metadata = registry.NewGate(http.HandlerFunc(c.serveMetadata))
	return c
}

func setDefault[T comparable](value *T, to T) {
	var zero T
	if *value == zero {
		*value = to
	}
}

// Close ends the imports under way, and waits for them.
func (c *Cloud) Close() {
	c.end()
	c.running.Wait()
}

// now is the cloud's time.
func (c *Cloud) now() time.Time { return time.Now().Add(c.options.Skew) }

// Subscription holds registries.
type Subscription struct {
	ID      string
	tenant  *Tenant
	cloud   *Cloud
	refusal *Failure // of lists of registries
}

// RefuseLists answers each list of the subscription's registries with a failure, as one does in which the provider is not registered; nil for none.
func (s *Subscription) RefuseLists(failure *Failure) {
	s.cloud.mu.Lock()
	defer s.cloud.mu.Unlock()
	s.refusal = failure
}

// listing is the refusal of lists that there is.
func (s *Subscription) listing() *Failure {
	s.cloud.mu.Lock()
	defer s.cloud.mu.Unlock()
	return s.refusal
}

// AddSubscription makes a subscription of the tenant.
func (t *Tenant) AddSubscription(id string) *Subscription {
	s := &Subscription{ID: id, tenant: t, cloud: t.cloud}
	t.cloud.mu.Lock()
	defer t.cloud.mu.Unlock()
	t.cloud.subscriptions[strings.ToLower(id)] = s
	return s
}

func (c *Cloud) subscription(id string) *Subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subscriptions[strings.ToLower(id)]
}

// all returns the registries there are.
func (c *Cloud) all() []*Registry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.registries)
}

// hub are the names of Docker Hub.
func hub() []string {
	return []string{"docker.io", "registry-1.docker.io", "index.docker.io", "registry.hub.docker.com"}
}

// outside finds a registry that is no part of the cloud.
func (c *Cloud) outside(host string) http.Handler {
	names := []string{host}
	if slices.Contains(hub(), host) {
		names = append(names, hub()...)
	}
	for _, name := range names {
		if handler, known := c.options.Outside[name]; known {
			return handler
		}
	}
	return nil
}

// site is what stands behind a host: its canonical name, whether it is a registry of the cloud, and who answers. The
// handler is nil for a host that nobody has.
func (c *Cloud) site(host, path string) (name string, isRegistry bool, handler http.Handler) {
	host = strings.TrimSuffix(strings.ToLower(host), ":443")
	c.mu.Lock()
	if alias, known := c.aliases[host]; known {
		host = alias
	}
	trap := c.traps[host]
	c.mu.Unlock()
	if host == "" {
		host = c.byPath(path)
	}
	switch host {
	case c.options.Domains.Management:
		return host, false, c.Management
	case c.options.Domains.Login:
		return host, false, c.Login
	case metadataHost:
		return host, false, c.Metadata
	}
	if r := c.byHost(host); r != nil && r.settings().NoRoute {
		return host, true, nil
	} else if r != nil {
		return r.LoginServer(), true, r
	}
	if handler := c.outside(host); handler != nil {
		return host, false, handler
	}
	if trap {
		return host, false, http.HandlerFunc(serveTrap)
	}
	return host, false, nil
}

// byPath tells the sites apart where one loopback port stands for all but the registries.
func (c *Cloud) byPath(path string) string {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch strings.ToLower(first) {
	case "subscriptions", "tenants", "providers":
		return c.options.Domains.Management
	case "metadata":
		if strings.HasPrefix(rest, "identity/") {
			return metadataHost
		}
		return c.options.Domains.Management
	}
	return c.options.Domains.Login
}

// byHost finds the registry by its login server or a regional endpoint.
func (c *Cloud) byHost(host string) *Registry {
	for _, r := range c.all() {
		if slices.ContainsFunc(r.Hosts(), func(h string) bool { return strings.EqualFold(h, host) }) {
			return r
		}
	}
	return nil
}

// ServeHTTP answers for the host that was asked, and looks for secrets that are not for it.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, isRegistry, handler := c.site(r.Host, r.URL.Path)
	c.inspect(r, name, isRegistry)
	if handler == nil {
		http.Error(w, "no such host: "+r.Host, http.StatusBadGateway)
		return
	}
	handler.ServeHTTP(w, r)
}

// Transport returns a RoundTripper to all hosts of the cloud and those outside, without a socket. Others fail as if DNS
// did not know them; what was sent to them is looked through all the same. It can be used in a synctest bubble.
func (c *Cloud) Transport() http.RoundTripper {
	return transport{cloud: c, next: registry.NewGate(c).Transport()}
}

type transport struct {
	cloud *Cloud
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if name, isRegistry, handler := t.cloud.site(r.URL.Host, r.URL.Path); handler == nil {
		t.cloud.inspect(r, name, isRegistry)
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, &net.DNSError{Err: "no such host", Name: r.URL.Host, IsNotFound: true}
	}
	return t.next.RoundTrip(r)
}

// origin is the scheme and host under which a request came.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// newGUID makes a random one.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
