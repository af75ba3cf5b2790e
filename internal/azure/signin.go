package azure

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// signer gets tokens of Entra with one credential.
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

// product is the part of a User-Agent that azidentity has room for.
func product(agent string) string {
	name, _, _ := strings.Cut(agent, " ")
	return truncated(name, 24)
}

// defaultWait bounds the search through all that may have a credential: some of it waits long for who is not there.
const defaultWait = 9 * time.Second

// fetch gets a token for a scope. azidentity gives out the one that it has until that is about to lapse; renew starts over
// with an empty memory, and reads files again.
func (s *signer) fetch(ctx context.Context, scope string, renew bool) (granted, error) {
	credential, options, err := s.use(scope, renew)
	if err != nil {
		return granted{}, err
	}
	trip := &trip{}
	from := time.Now()
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
		options.Claims = "{}" // its memory is the process's, and only claims pass it by
	}
	return fresh, options, nil
}

// maxSignIn bounds what is read of an answer to a sign-in.
const maxSignIn = 1 << 20

// carrier takes azidentity's requests. It follows no redirect, as they carry secrets in their bodies.
type carrier struct {
	client    *http.Client
	authority string
}

// trip is what is to be known about a sign-in beside azidentity's own error, which tells little of the network.
type trip struct {
	mu   sync.Mutex
	err  error         // of the way to Entra
	skew time.Duration // how far Entra's clock is ahead of ours; 0 where it did not say
}

type tripKey struct{}

// Do implements azcore's policy.Transporter.
func (c carrier) Do(r *http.Request) (*http.Response, error) {
	response, err := c.client.Do(r)
	if err == nil {
		response.Body = bounded{io.LimitReader(response.Body, maxSignIn), response.Body}
	}
	if t, ok := r.Context().Value(tripKey{}).(*trip); ok && r.URL.Host == c.authority {
		t.note(response, err)
	}
	return response, err
}

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

// bounded is a body of which no more than so much is read.
type bounded struct {
	io.Reader
	io.Closer
}

// stay keeps a client from following redirects.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
