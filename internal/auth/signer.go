package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/flight"
	"github.com/draysync/dray/internal/wire"
)

// signer signs the requests to one host with one credential.
type signer struct {
	wire *wire.Transport
	host string
	// source returns the credential.
	source func(ctx context.Context) (Credential, time.Time, error)
	// locks is set where wrong passwords lock an account, and too many requests for tokens an address.
	locks bool
	log   *slog.Logger

	seeking flight.Group[Credential]
	buying  flight.Group[*token]

	mu sync.Mutex
	// scheme is how the host wants to be signed in to, empty as long as it has not said; realm is where a bearer gets tokens.
	scheme     string
	realm      realm
	credential Credential
	expires    time.Time // of the credential
	known      bool      // the credential
	tokens     map[string]*token
	// asked are scopes that the host has asked for beyond those that were needed.
	asked    map[string][]Scope
	refusals refusals
}

// The schemes that a signer knows (RFC 7617 and 6750).
const (
	basic  = "basic"
	bearer = "bearer"
)

const (
	// renewals bounds how often one request is made with tokens that end before they serve it; freshFor is how long no other token is
	// asked for after a new one.
	renewals  = 4
	freshFor  = 500 * time.Millisecond
	maxTokens = 10_000
	// sourceTimeout bounds the search for a credential.
	sourceTimeout = 2 * time.Minute
)

// do sends a request, with a credential once the host asks for one, and with a new token where the last is no longer taken.
func (s *signer) do(req *http.Request, call wire.Call, need []Scope) (*http.Response, error) {
	var used *token
	var signed bool
	call.Secrets = s.secrets
	call.Sign = func(attempt *http.Request) (err error) {
		used, signed, err = s.sign(attempt, need)
		return err
	}
	for try := 1; ; try++ {
		if err := s.ready(req.Context(), need); err != nil { // before a place is taken
			return nil, err
		}
		resp, err := s.wire.Do(req, call)
		if err == nil {
			s.taken(used)
			return resp, nil
		}
		refusal, ok := errors.AsType[*wire.Error](err)
		if !ok || refusal.Operation != call.Operation || !challenges(refusal) {
			if ok && refusal.Status != 0 && refusal.Operation == call.Operation {
				s.taken(used)
			}
			return nil, err
		}
		again, err := s.meet(req, refusal, need, used, signed)
		switch {
		case err != nil:
			return nil, err
		case !again:
			return nil, s.refuses(req.Context(), refusal)
		case try >= renewals, req.Body != nil && req.Body != http.NoBody && req.GetBody == nil:
			ended := *refusal
			ended.Again = true
			return nil, &ended
		}
	}
}

// challenges tells whether an answer asks for a sign-in: 401, or 403 with a challenge that says what the token lacks (RFC 6750, 3.1).
func challenges(e *wire.Error) bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden && slices.ContainsFunc(parseChallenges(e.Header.Values("WWW-Authenticate")),
		func(c challenge) bool { return c.scheme == bearer && c.params["scope"] != "" })
}

// taken notes that the host has taken a token.
func (s *signer) taken(t *token) {
	if t != nil {
		t.served.Store(true)
	}
}

// sign puts the credential on a request, as far as the host has asked for one.
func (s *signer) sign(req *http.Request, need []Scope) (used *token, signed bool, err error) {
	s.mu.Lock()
	scheme := s.scheme
	s.mu.Unlock()
	switch scheme {
	case basic:
		credential, err := s.find(req.Context())
		if err != nil || credential.Anonymous() || credential.IdentityToken != "" {
			return nil, false, err
		}
		req.SetBasicAuth(credential.Username, credential.Password)
		return nil, true, nil
	case bearer:
		if used, err = s.token(req.Context(), need); err != nil {
			return nil, false, err
		}
		req.Header.Set("Authorization", "Bearer "+used.text)
		return used, true, nil
	}
	return nil, false, nil
}

// ready finds what a request will be signed with. The credential is looked for before it is asked for: who signs in is known then, whose
// budget the first request spends.
func (s *signer) ready(ctx context.Context, need []Scope) error {
	_, err := s.find(ctx)
	s.mu.Lock()
	scheme := s.scheme
	s.mu.Unlock()
	if err == nil && scheme == bearer {
		_, err = s.token(ctx, need)
	}
	return err
}

// meet learns from a challenge how to sign in, and tells whether the request is worth another try.
func (s *signer) meet(req *http.Request, refusal *wire.Error, need []Scope, used *token, signed bool) (again bool, err error) {
	for _, c := range parseChallenges(refusal.Header.Values("WWW-Authenticate")) {
		if c.scheme == bearer && c.params["realm"] != "" {
			return s.meetBearer(req, c, need, used)
		}
	}
	for _, c := range parseChallenges(refusal.Header.Values("WWW-Authenticate")) {
		if c.scheme == basic {
			credential, err := s.find(req.Context())
			s.mu.Lock()
			s.scheme = basic
			s.mu.Unlock()
			refused := signed && used == nil // the credential itself
			return !refused && !credential.Anonymous() && credential.IdentityToken == "", err
		}
	}
	return false, nil
}

func (s *signer) meetBearer(req *http.Request, c challenge, need []Scope, used *token) (again bool, err error) {
	place, err := realmOf(req, s.wire, c.params["realm"])
	if err != nil {
		return false, &wire.Error{Host: s.host, Operation: "GET token", Attempts: 1, Lasting: true, Message: wire.Clean(err.Error()), Cause: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheme, s.realm = bearer, realm{place, c.params["service"]}
	key := joined(need)
	before, asked := s.scopes(need), wanted(need, parseScopes(c.params["scope"]))
	if !covers(before, asked) {
		if s.asked == nil || len(s.asked) >= maxTokens {
			s.asked = map[string][]Scope{}
		}
		s.asked[key] = asked
		return true, nil
	}
	if used == nil {
		return true, nil // it had no token yet
	}
	if s.tokens[joined(before)] != used { // another request has renewed it meanwhile
		return true, nil
	}
	now := time.Now()
	age := now.Sub(used.born)
	if used.fresh(now) && (age < freshFor || age < refusalFor && !used.served.Load()) {
		return false, nil // it has not ended: the refusal is about what it is for
	}
	delete(s.tokens, joined(before))
	return true, nil
}

// covers tells whether the first scopes have all of the others.
func covers(have, want []Scope) bool { return joined(wanted(have, want)) == joined(have) }

// scopes are what a token is asked for. The lock is held.
func (s *signer) scopes(need []Scope) []Scope {
	if asked, ok := s.asked[joined(need)]; ok {
		return asked
	}
	return need
}

// realmOf returns where tokens are to be had. A relative one is relative to the request.
func realmOf(req *http.Request, carrier *wire.Transport, text string) (*url.URL, error) {
	base := *req.URL
	if same, err := carrier.Allowed(req.Context(), &base); err == nil {
		base = *same
	}
	place, err := base.Parse(text)
	if err != nil {
		return nil, errors.New("the realm of its challenge is not a URL")
	}
	if place.Scheme == "http" && base.Scheme == "https" {
		return nil, fmt.Errorf("a token server without TLS, at %s, is not allowed for a registry with TLS", wire.Clean(place.Host))
	}
	return carrier.Allowed(req.Context(), place)
}

// token returns a token that is good for what is needed, from memory or from the token server. One request at a time asks for one.
func (s *signer) token(ctx context.Context, need []Scope) (*token, error) {
	s.mu.Lock()
	scopes := s.scopes(need)
	key := joined(scopes)
	known, place, refused := s.tokens[key], s.realm, s.refusals.check(key, time.Now())
	s.mu.Unlock()
	if known.fresh(time.Now()) {
		return known, nil
	}
	if refused != nil {
		return nil, refused
	}
	got, err := s.buying.Do(ctx, key, func(ctx context.Context) (*token, error) {
		s.mu.Lock()
		known := s.tokens[key]
		s.mu.Unlock()
		if known.fresh(time.Now()) { // it came while this flight was about to begin
			return known, nil
		}
		return s.fetch(ctx, place, scopes)
	})
	return got, s.ended(ctx, err)
}

// fetch asks the token server, and keeps what it says.
func (s *signer) fetch(ctx context.Context, place realm, scopes []Scope) (*token, error) {
	credential, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	got, err := place.ask(ctx, s.wire, credential, scopes, func(e *wire.Error) bool { return s.locks && e.Status == http.StatusTooManyRequests })
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal, ok := errors.AsType[*wire.Error](err); ok {
		if refusal.Status == http.StatusUnauthorized {
			refusal.Hint = s.advice(credential)
			s.known = s.known && s.expires.IsZero() // what a helper gave may be another one by now
		}
		return nil, s.refusals.note(joined(scopes), s.locks, !credential.Anonymous(), refusal, time.Now())
	}
	if err != nil {
		return nil, err
	}
	s.refusals.served()
	s.keep(joined(scopes), got)
	return got, nil
}

// keep remembers a token, and drops those that are over. The lock is held.
func (s *signer) keep(key string, t *token) {
	if s.tokens == nil {
		s.tokens = map[string]*token{}
	}
	if len(s.tokens) >= maxTokens {
		for key, old := range s.tokens {
			if !old.fresh(time.Now()) {
				delete(s.tokens, key)
			}
		}
	}
	if len(s.tokens) >= maxTokens {
		clear(s.tokens)
	}
	s.tokens[key] = t
}

// find returns the credential. One request at a time asks for it.
func (s *signer) find(ctx context.Context) (Credential, error) {
	s.mu.Lock()
	credential, good := s.credential, s.known && (s.expires.IsZero() || time.Now().Before(s.expires))
	s.mu.Unlock()
	if good {
		return credential, nil
	}
	credential, err := s.seeking.Do(ctx, "", func(ctx context.Context) (Credential, error) {
		ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
		defer cancel()
		credential, expires, err := s.source(ctx)
		if err != nil {
			return Credential{}, noCredential(s.wire.Name(), err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.known && credential.Lacking != "" && credential.Lacking != s.credential.Lacking || !s.known && credential.Lacking != "" {
			s.log.LogAttrs(ctx, slog.LevelWarn, "signing in as nobody", slog.String("registry", s.wire.Name()), slog.String("err", credential.Lacking))
		}
		if credential != s.credential {
			s.tokens, s.refusals = nil, refusals{}
		}
		s.credential, s.expires, s.known = credential, expires, true
		return credential, nil
	})
	return credential, s.ended(ctx, err)
}

// ended gives an error the form of this module's where it is only that the caller has not waited.
func (s *signer) ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return &wire.Error{Host: s.wire.Name(), Operation: "sign in", Attempts: 1, Message: cause.Error(), Cause: cause}
	}
	return err
}

// refuses is the error of a request that the host refuses with the credential that there is.
func (s *signer) refuses(ctx context.Context, refusal *wire.Error) error {
	credential, err := s.find(ctx)
	if err != nil {
		return err
	}
	e := *refusal
	e.Hint = s.advice(credential)
	if refusal.Status == http.StatusUnauthorized && !credential.Anonymous() {
		e.Hint = "the sign-in was refused, or there is no such repository for this account: check registries." + s.wire.Name() + " or docker login"
	}
	return &e
}

// advice is what a person can do about a sign-in that is refused.
func (s *signer) advice(c Credential) string {
	name := s.wire.Name()
	switch {
	case c.Lacking != "":
		return "the sign-in was refused: there is no credential, since " + c.Lacking
	case c.Anonymous():
		return "the sign-in was refused: no credential is configured for " + name + "; set registries." + name + ", or use docker login"
	}
	return "the sign-in was refused: check registries." + name + ", or docker login"
}

// secrets are what must not be seen in an error, whatever the host repeats.
func (s *signer) secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.credential.secrets()
	for _, t := range s.tokens {
		all = append(all, t.text)
	}
	return all
}
