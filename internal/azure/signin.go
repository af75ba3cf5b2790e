package azure

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/draysync/dray/internal/switching"
)

// signer gets tokens from Entra with one credential.
type signer struct {
	credential Credential
	client     azcore.ClientOptions
	isolated   bool

	mu      sync.Mutex
	current azcore.TokenCredential
}

func newSigner(o Options, base http.RoundTripper) (*signer, error) {
	authority, err := url.Parse(o.Cloud.AuthorityHost)
	if err != nil {
		return nil, err
	}
	s := &signer{credential: o.Credential, isolated: !o.Cloud.known()}
	s.client = azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: strings.TrimRight(o.Cloud.AuthorityHost, "/") + "/"},
		Transport: carrier{client: &http.Client{Transport: base, CheckRedirect: stay}, authority: authority.Host},
		Telemetry: policy.TelemetryOptions{ApplicationID: product(o.UserAgent)},
	}
	s.current, err = s.credential.build(s.client, s.isolated)
	if err != nil {
		return nil, unusable(s.credential, err)
	}
	return s, nil
}

// product is the part of the User-Agent that azidentity accepts.
func product(agent string) string {
	name, _, _ := strings.Cut(agent, " ")
	return truncated(name, 24)
}

// defaultWait limits the search for a credential: some sources take long to time out if they are absent.
const defaultWait = 9 * time.Second

// fetch gets a token for a scope. azidentity returns a cached token until it is about to expire; renew starts with an empty cache, and reads
// files again.
func (s *signer) fetch(ctx context.Context, scope string, renew bool) (granted, error) {
	credential, options, err := s.use(scope, renew)
	if err != nil {
		return granted{}, err
	}
	from := time.Now()
	trip := &trip{machine: s.credential.kind() == KindManagedIdentity, heard: from}
	outer := ctx
	if s.credential.kind() == KindDefault {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultWait)
		defer cancel()
	}
	token, err := credential.GetToken(context.WithValue(ctx, tripKey{}, trip), options)
	switch {
	case err == nil:
		return granted{token.Token, from, token.ExpiresOn}, nil
	case outer.Err() != nil:
		return granted{}, outer.Err()
	case ctx.Err() != nil:
		return granted{}, &SignInError{Kind: KindDefault, Failure: unavailable(s.credential, "")}
	}
	return granted{}, signInError(s.credential, err, trip)
}

func (s *signer) use(scope string, renew bool) (azcore.TokenCredential, policy.TokenRequestOptions, error) {
	options := policy.TokenRequestOptions{Scopes: []string{scope}}
	if !renew {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.current, options, nil
	}
	fresh, err := s.credential.build(s.client, s.isolated)
	if err != nil {
		return nil, options, unusable(s.credential, err)
	}
	s.mu.Lock()
	s.current = fresh
	s.mu.Unlock()
	if s.credential.kind() == KindManagedIdentity {
		options.Claims = "{}" // its cache is shared by the process, and only claims bypass it
	}
	return fresh, options, nil
}

// maxSignIn limits the size of an answer to a sign-in.
const maxSignIn = 1 << 20

// carrier sends azidentity's requests. It follows no redirects, since the bodies hold secrets.
type carrier struct {
	client    *http.Client
	authority string
}

// trip records details of a sign-in, since azidentity's own error says little about the network.
type trip struct {
	mu   sync.Mutex
	err  error         // of the connection to Entra
	skew time.Duration // how far Entra's clock is ahead of ours; 0 if unknown
	// machine says that this machine's metadata service is asked, heard when it last answered, and lost why it does not.
	machine bool
	heard   time.Time
	lost    error
}

type tripKey struct{}

// Do implements azcore's policy.Transporter.
func (c carrier) Do(r *http.Request) (*http.Response, error) {
	response, err := switching.Refused(c.client.Do(r))
	if err == nil {
		response.Body = bounded{io.LimitReader(response.Body, maxSignIn), response.Body}
	}
	switch t, ok := r.Context().Value(tripKey{}).(*trip); {
	case !ok:
	case t.machine:
		err = t.listen(r.URL.Host, err)
	case r.URL.Host == c.authority:
		t.note(response, err)
	}
	return response, err
}

const (
	// metadataTry limits one request to the metadata service, and metadataSilence how long it is asked again without an answer. One that refuses
	// may be about to start, and azidentity asks it for longer.
	metadataTry, metadataSilence = 25 * time.Second, 30 * time.Second
)

// listen notes whether the metadata service has answered, and returns an error that azidentity does not retry if it has been silent for too long.
func (t *trip) listen(host string, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.heard, t.lost = time.Now(), nil
		return nil
	}
	t.lost = fmt.Errorf("%s: %w", host, withoutURL(err))
	if time.Since(t.heard) < metadataSilence {
		return err
	}
	return lasting{err}
}

// lasting is an error that azcore does not retry.
type lasting struct{ error }

// NonRetriable implements azcore's errorinfo.NonRetriable.
func (lasting) NonRetriable() {}

// Unwrap returns the cause.
func (l lasting) Unwrap() error { return l.error }

func (t *trip) note(response *http.Response, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
	if err != nil {
		return
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		t.skew = time.Until(date)
	}
}

// bounded is a body with a limit on how much is read.
type bounded struct {
	io.Reader
	io.Closer
}

// stay stops a client from following redirects.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
