package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/acr"
	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/dial"
	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/transfer"
)

// azureSide is the Azure client of a config, with its sign-in; nil if the config does not use Azure.
type azureSide struct {
	config *config.Config
	cloud  azure.Cloud
	client *azure.Client
	planes acr.Planes

	mu       sync.Mutex
	refusals map[string]refusal
}

// refusal is a failed sign-in, at Entra or at a registry, and until when not to try it again.
type refusal struct {
	err   error
	until time.Time
}

// The pauses after a failed sign-in: for one that may succeed by itself, and for others.
const (
	signInSoon  = time.Minute
	signInAgain = 10 * time.Minute
)

// The keys of Entra's own refusals: of a token for registries, and of one for the Resource Manager. An identity may get one and not the other.
const (
	forRegistries = "Entra, for registries"
	forManager    = "Entra, for the Resource Manager"
)

// refusal returns the current refusal by a registry, or by Entra; its error is nil for none.
func (s *azureSide) refusal(at string) refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.refusals[at]; time.Now().Before(r.until) {
		return r
	}
	return refusal{}
}

// refuse records how a sign-in failed or, with nil, that it succeeded.
func (s *azureSide) refuse(at string, err error) refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refusals, at)
	if err == nil {
		return refusal{}
	}
	r := refusal{err, time.Now().Add(signInAgain)}
	if passing(err) {
		r.until = time.Now().Add(signInSoon)
	}
	if s.refusals == nil {
		s.refusals = map[string]refusal{}
	}
	s.refusals[at] = r
	return r
}

// passing reports whether a failed sign-in may succeed by itself: any may, except after a permanent refusal or with an invalid credential.
func passing(err error) bool {
	if answer, ok := errors.AsType[*azure.ResponseError](err); ok {
		return answer.MayPass()
	}
	if signIn, ok := errors.AsType[*azure.SignInError](err); ok {
		return signIn.Temporary()
	}
	return true
}

// cloudOf returns the Azure cloud of a config.
func cloudOf(cfg *config.Config) azure.Cloud {
	h := cfg.Azure.Hosts
	if known, ok := azure.CloudNamed(cfg.Azure.Cloud); ok {
		return known
	}
	return azure.Cloud{ARMEndpoint: h.ARMEndpoint, ARMAudience: h.ARMAudience, AuthorityHost: h.AuthorityHost, RegistrySuffix: h.RegistrySuffix}
}

// newAzure builds the Azure side if the config has an Azure registry, or says how to sign in to Azure.
func newAzure(cfg *config.Config, carrier func(http.RoundTripper) http.RoundTripper, log *slog.Logger) (*azureSide, error) {
	wanted := cfg.Azure.Set || slices.ContainsFunc(cfg.Mappings, func(m config.Mapping) bool { return m.Engine == config.EngineACR })
	for _, r := range cfg.Registries {
		wanted = wanted || r.Azure != nil
	}
	if !wanted {
		return nil, nil //nolint:nilnil // Azure is not used
	}
	s := &azureSide{config: cfg, cloud: cloudOf(cfg)}
	base, err := azureTransport(cfg.Azure.Hosts.CAFile)
	if err != nil {
		return nil, err
	}
	var transport http.RoundTripper = base
	if carrier != nil {
		transport = carrier(base)
	}
	c := cfg.Azure.Credential
	s.client, err = azure.New(azure.Options{
		Cloud: s.cloud, Transport: transport, UserAgent: userAgent(), Log: log,
		Credential: azure.Credential{
			Kind: c.Kind, TenantID: c.TenantID, ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(),
			CertificateFile: c.CertificateFile, CertificatePassword: c.CertificatePassword.Reveal(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("azure: %w", err)
	}
	return s, nil
}

// pingAfter is how long a shared connection may be silent before a ping must prove it alive.
const pingAfter = 15 * time.Second

// maxCertificates is the size limit of a certificate file, in bytes.
const maxCertificates = 16 << 20

// azureTransport returns a transport that trusts the certificates of a file besides the system's.
func azureTransport(caFile string) (*http.Transport, error) {
	base := dial.Transport(proxyFor)
	base.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter} // otherwise all polls would use one dead connection
	if caFile == "" {
		return base, nil
	}
	pem, err := file.ReadText(caFile, maxCertificates)
	if err != nil {
		return nil, fmt.Errorf("azure.cloud.caFile: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("azure.cloud.caFile: %s holds no certificate in PEM form", caFile)
	}
	base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	return base, nil
}

// proxyFor returns the environment's proxy, except for this machine's metadata service, which no proxy can reach.
func proxyFor(r *http.Request) (*url.URL, error) {
	if address, err := netip.ParseAddr(r.URL.Hostname()); err == nil && address.IsLinkLocalUnicast() {
		return nil, nil //nolint:nilnil // none
	}
	return http.ProxyFromEnvironment(r)
}

// engine builds the engine "acr", which falls back to copying if Azure fails.
func (s *azureSide) engine(client *registry.Client, credentials *auth.Store, memory *store.Store, limits *limits, copying *transfer.Engine, log *slog.Logger) *acr.Engine {
	options := acr.Options{
		Azure: s.client, Plane: client, Locks: locks{s.client}, Target: s.id,
		Origin: func(ctx context.Context, source image.Repository) (acr.Origin, error) {
			return s.origin(ctx, source, client)
		},
		Registry: func(repo image.Repository) acr.Registry { return s.known(repo, client, credentials) },
		SignIn:   s.signIn, Manifest: copying.Manifest, Access: s.access, Planes: &s.planes,
		Metered: limits.governor.Metered, Fallback: copying,
		Parallel: s.config.Azure.Parallel, Rate: s.config.Azure.Rate, Timeout: s.config.Azure.Timeout, Log: log,
	}
	if memory != nil {
		options.Memory = memory
	}
	return acr.New(options)
}

// access returns the config's setting for the data plane of a target.
func (s *azureSide) access(host string) acr.Access {
	if r := s.config.Registries[host].Azure; r != nil {
		return acr.Access(r.DataPlane)
	}
	return acr.AccessAuto
}

// azureJobs is the Azure side with the jobs of a generation.
type azureJobs struct {
	side *azureSide
	jobs []plan.Job
}

// closed returns the registries whose data plane is known to be closed to the jobs.
func (a *azureJobs) closed() []acr.ClosedRegistry {
	if a == nil || a.side == nil {
		return nil
	}
	return a.side.planes.Closed(func(repo image.Repository) bool {
		return slices.ContainsFunc(a.jobs, func(j plan.Job) bool { return j.Engine != string(config.EngineCopy) && j.Writes(repo) })
	})
}

// locks reads the locks of tags from Azure registries.
type locks struct{ *azure.Client }

// Locked implements acr.Locks.
func (l locks) Locked(ctx context.Context, ref image.Reference) (bool, error) {
	return l.Client.Locked(ctx, ref.Registry, ref.Path, ref.Tag)
}

// known returns the configuration of a repository's registry.
func (s *azureSide) known(repo image.Repository, client *registry.Client, credentials *auth.Store) acr.Registry {
	host, part := s.config.Registries[repo.Registry], s.config.Registries[client.Account(repo)]
	implied := s.config.Azure.Everywhere && s.issues(repo.Registry) && part.Password == "" && part.IdentityToken == "" && part.CredentialHelper == ""
	return acr.Registry{
		Azure: host.Azure != nil || implied, Issued: s.issues(repo.Registry), Plain: host.PlainHTTP,
		Private: host.TLS.CAFile != "" || host.TLS.CertFile != "" || host.TLS.InsecureSkipVerify,
		Signed:  part.Password != "",
		Stored:  part.CredentialHelper != "" || part.IdentityToken != "" || part.AWS != nil || part.Google != nil || !part.Anonymous && (isPrivateECR(repo.Registry) || credentials.Has(repo)),
	}
}

// id returns the resource ID of a registry: the config's or, by its login server, Azure's.
func (s *azureSide) id(ctx context.Context, host string) (azure.ResourceID, error) {
	if r := s.config.Registries[host].Azure; r != nil && r.ResourceID != "" {
		return azure.ParseResourceID(r.ResourceID)
	}
	if canonical, ok := s.cloud.LoginServer(host); ok {
		host = canonical
	}
	return s.client.Find(ctx, "", host) //nolint:wrapcheck // it says what was done
}

// origin returns how Azure reaches a source: by the resource ID of an Azure registry that this identity can see, or by its host, with the
// config's password if there is one.
func (s *azureSide) origin(ctx context.Context, source image.Repository, client *registry.Client) (acr.Origin, error) {
	if entry := s.config.Registries[client.Account(source)]; entry.Password != "" {
		return acr.Origin{Host: source.Registry, Username: entry.Username, Password: entry.Password.Reveal()}, nil
	}
	ours := s.config.Registries[source.Registry].Azure != nil
	if _, azures := s.cloud.LoginServer(source.Registry); !ours && !azures {
		return acr.Origin{Host: source.Registry}, nil
	}
	id, err := s.id(ctx, source.Registry)
	switch {
	case err == nil:
		return acr.Origin{ResourceID: id.String()}, nil
	case !ours && errors.Is(err, azure.ErrNotFound): // someone else's, which may allow anonymous pulls
		return acr.Origin{Host: source.Registry}, nil
	}
	return acr.Origin{}, err
}

// signIn returns an error if signing in to Azure fails. After a failure it does not try again for a while.
func (s *azureSide) signIn(ctx context.Context) error {
	if r := s.refusal(forManager); r.err != nil {
		return r.err
	}
	err := s.client.SignIn(ctx)
	if ctx.Err() == nil {
		s.refuse(forManager, err)
	}
	return err //nolint:wrapcheck // it says what was done
}

// azureKey returns the parts of a config that the Azure side depends on, for comparison.
func azureKey(cfg *config.Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v", cfg.Azure)
	c := cfg.Azure.Credential
	fmt.Fprintf(&b, " %q %q", c.ClientSecret.Reveal(), c.CertificatePassword.Reveal())
	for _, key := range slices.Sorted(maps.Keys(cfg.Registries)) {
		if r := cfg.Registries[key]; r.Azure != nil {
			fmt.Fprintf(&b, " %s=%s %s", key, r.Azure.ResourceID, r.Azure.DataPlane)
		}
	}
	return b.String()
}
