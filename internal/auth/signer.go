package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/flight"
	"github.com/draysync/dray/internal/wire"
)

// signer signs the requests to one host with one credential.
type signer struct {
	wire *wire.Transport
	// source returns the credential.
	source func(ctx context.Context) (Credential, time.Time, error)
	// locks is set if wrong passwords lock an account, and too many token requests an address.
	locks bool
	log   *slog.Logger

	// home is set at the registry itself, which may be asked at /v2/ how to sign in.
	home bool

	seeking flight.Group[Credential]
	buying  flight.Group[*token]
	asking  flight.Group[string]

	mu sync.Mutex
	// searching is the call of the source under way; nil for none.
	searching *search
	// scheme is the host's authentication scheme, empty until it has named one. realm is the token server in its last challenge. ways are
	// the answers to challenges for the same scopes: a registry may name another token server for each.
	scheme string
	realm  realm
	ways   map[string]way
	// asked is when it was asked at /v2/; alsoBasic is set if a challenge for tokens offered Basic as well.
	asked     time.Time
	alsoBasic bool
	// accepted is set while the password itself serves; denied is when it last was refused, and had not served.
	accepted bool
	denied   time.Time
	// credential is the source's answer, until it expires; renewed is the last time that it was asked to replace a refused one.
	credential       Credential
	expires, renewed time.Time
	known            bool
	// failure is why there is none, cached for a while.
	failure     error
	failedUntil time.Time
	tokens      map[string]*token
	// posts is the token server that lately gave a token by POST only; empty for none.
	posts    string
	size     int // of the tokens, in bytes
	refusals refusals
}

// way is a token server and scopes, and when the host named them.
type way struct {
	realm
	scopes []Scope
	seen   time.Time
	// wasted is when a new token was refused like the last.
	wasted time.Time
}

func (w way) key() string { return w.url.String() + " " + w.service + " " + joined(w.scopes) }

// signature is what signed a request: a token, or else a credential, or nothing.
type signature struct {
	token      *token
	credential Credential
}

// The schemes that a signer supports (RFC 7617 and 6750).
const (
	basic  = "basic"
	bearer = "bearer"
)

const (
	// renewals limits how often one request gets a new token because the last one expired; freshFor is how long after a new token no other
	// is requested.
	renewals = 8
	freshFor = 500 * time.Millisecond
	// maxTokens limits the kept tokens, in bytes; maxWays limits the ways, each of which may take 16 KiB.
	maxTokens = 16 << 20
	maxWays   = 1000
	// sourceTimeout limits the search for a credential.
	sourceTimeout = 2 * time.Minute
)

// do sends a request, with a credential once the host asks for one, and with a new token once the last is refused.
func (s *signer) do(req *http.Request, call wire.Call, need []Scope) (*http.Response, error) {
	var used signature
	var carried []string // what signed earlier attempts
	call.Secrets = func() []string { return append(s.secrets(), carried...) }
	call.Sign = func(attempt *http.Request) (err error) {
		used, err = s.sign(attempt, need)
		carried = append(carried, used.secrets()...)
		return err
	}
	learned := false
	learns := func(used signature, err error) bool {
		again := !learned && s.learn(req, call, used, err)
		learned = learned || again
		return again
	}
	for try := 1; ; try++ {
		if err := s.ready(req.Context(), need); err != nil { // before waiting for a slot
			if resp, err := s.unready(req, call, need, err, try > 1); resp != nil || err != nil {
				return resp, err
			}
			continue
		}
		resp, err := s.wire.Do(req, call)
		refusal := refusalOf(call, err, used)
		if refusal == nil {
			if learns(used, err) {
				continue
			}
			s.note(used, err)
			return resp, err
		}
		again, err := s.meet(req, refusal, need, used)
		switch {
		case err != nil:
			return nil, err
		case !again && learns(used, refusal):
			continue
		case !again:
			return nil, s.refuses(req.Context(), refusal)
		case try >= renewals, hasBody(req) && req.GetBody == nil:
			ended := *refusal
			ended.Again = true
			return nil, &ended
		}
	}
}

// unready looks for another way to sign in where there is no token; it returns neither an answer nor an error if there is one.
func (s *signer) unready(req *http.Request, call wire.Call, need []Scope, failure error, again bool) (*http.Response, error) {
	switch {
	case s.basicInstead(failure):
		return nil, nil
	case again:
		return nil, failure
	}
	return s.relearn(req, call, need, failure)
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// relearn sends the request without a token, to learn the current token server: the one that the host named before gives none. It returns
// an answer if the host needs no token, an error if the host names no other way, and neither if it does.
func (s *signer) relearn(req *http.Request, call wire.Call, need []Scope, failure error) (*http.Response, error) {
	e, ok := errors.AsType[*wire.Error](failure)
	s.mu.Lock()
	before := s.way(need)
	s.mu.Unlock()
	if !ok || !e.OfToken() || e.Status == http.StatusTooManyRequests || hasBody(req) || time.Since(before.seen) < refusalFor {
		return nil, failure
	}
	call.Sign = nil
	resp, err := s.wire.Do(req, call)
	if err == nil {
		return resp, nil
	}
	refusal := refusalOf(call, err, signature{})
	if refusal == nil {
		return nil, failure
	}
	if again, err := s.meet(req, refusal, need, signature{}); err != nil || !again {
		return nil, failure
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scheme == bearer && s.way(need).key() == before.key() {
		return nil, failure
	}
	return nil, nil
}

// refusalOf returns the error of an answer that asks for a sign-in. Any other answer means that the host accepted the token.
func refusalOf(call wire.Call, err error, used signature) *wire.Error {
	e, ok := errors.AsType[*wire.Error](err)
	own := ok && e.Operation == call.Operation
	if own && challenges(e, used == signature{}) {
		return e
	}
	if used.token != nil && (err == nil || own && e.Status != 0) {
		used.token.served.Store(true)
	}
	return nil
}

// challenges reports whether an answer asks for a sign-in: a 401, a 403 whose challenge names the missing scope (RFC 6750, 3.1), or a 403 or 404
// with any challenge that dray knows, to an unsigned request.
func challenges(e *wire.Error, unsigned bool) bool {
	switch e.Status {
	case http.StatusUnauthorized:
		return true
	case http.StatusForbidden, http.StatusNotFound:
		return slices.ContainsFunc(parseChallenges(e.Header.Values("WWW-Authenticate")), func(c challenge) bool {
			return e.Status == http.StatusForbidden && c.scheme == bearer && c.params["scope"] != "" || unsigned && (c.scheme == bearer || c.scheme == basic)
		})
	}
	return false
}

// sign adds the credential or a token to a request, if the host has asked for one.
func (s *signer) sign(req *http.Request, need []Scope) (used signature, err error) {
	s.mu.Lock()
	scheme := s.scheme
	s.mu.Unlock()
	switch scheme {
	case basic:
		credential, err := s.find(req.Context())
		if err != nil || credential.Anonymous() || credential.IdentityToken != "" {
			return signature{}, err
		}
		req.SetBasicAuth(credential.Username, credential.Password)
		return signature{credential: credential}, nil
	case bearer:
		if used.token, err = s.token(req.Context(), need); err != nil {
			return signature{}, err
		}
		req.Header.Set("Authorization", "Bearer "+used.token.text)
	}
	return used, nil
}

func (u signature) secrets() []string {
	if u.token != nil {
		return []string{u.token.text}
	}
	return u.credential.secrets()
}

// ready gets what will sign a request. It finds the credential before the host asks for one, so that the account is known whose budget the
// first request spends.
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

// meet learns from a challenge how to sign in, and reports whether the request is worth another try.
func (s *signer) meet(req *http.Request, refusal *wire.Error, need []Scope, used signature) (again bool, err error) {
	offered := parseChallenges(refusal.Header.Values("WWW-Authenticate"))
	alsoBasic, served := s.offers(offered, used)
	for _, c := range offered {
		if c.scheme == bearer && c.params["realm"] != "" && (!alsoBasic || used.credential.Anonymous()) {
			var unusable error
			if again, unusable = s.meetBearer(req, c, need, used.token); unusable == nil {
				return again, nil
			}
			err = cmp.Or(err, unusable)
		}
	}
	if err != nil {
		return false, err
	}
	if alsoBasic {
		return s.meetBasic(req, offered, need, used, served)
	}
	if len(offered) > 0 || used.token == nil {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outworn(need, s.way(need), used.token), nil // it named the way before
}

// offers notes what a challenge offers besides tokens, and reports whether that is Basic, and whether the password that was refused has served before.
func (s *signer) offers(offered []challenge, used signature) (alsoBasic, served bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alsoBasic = slices.ContainsFunc(offered, func(c challenge) bool { return c.scheme == basic })
	if !used.credential.Anonymous() {
		served = s.accepted
		s.accepted = false
	}
	return s.alsoBasic, served
}

// meetBasic has requests carry the password itself. Once that is refused, and has not served before, the next request asks for a token again if the host
// offers that.
func (s *signer) meetBasic(req *http.Request, offered []challenge, need []Scope, used signature, served bool) (again bool, err error) {
	s.mu.Lock()
	s.scheme = basic
	s.mu.Unlock()
	if used.credential.Anonymous() {
		credential, err := s.find(req.Context())
		return !credential.Anonymous() && credential.IdentityToken == "", err
	}
	if _, again = s.renew(req.Context(), used.credential); again || served {
		return again, nil
	}
	s.mu.Lock()
	s.denied = time.Now()
	s.mu.Unlock()
	for _, c := range offered {
		if c.scheme == bearer && c.params["realm"] != "" {
			_, _ = s.meetBearer(req, c, need, nil) // one that cannot be used changes nothing
		}
	}
	return false, nil
}

// note notes that the password itself has served.
func (s *signer) note(used signature, err error) {
	if err != nil || used.credential.Anonymous() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = true
}

func (s *signer) meetBearer(req *http.Request, c challenge, need []Scope, used *token) (again bool, err error) {
	server, err := realmOf(req, s.wire, c.params["realm"])
	if err != nil {
		return false, s.wire.Fault("GET token", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	next := s.way(need)
	next.realm, next.seen = realm{url: server, service: c.params["service"]}, now
	if asked := wanted(need, parseScopes(c.params["scope"])); !covers(next.scopes, asked) {
		next.scopes = asked
	}
	s.scheme, s.realm = bearer, next.realm
	return s.outworn(need, next, used), nil
}

// outworn reports whether a request is worth another try with another token, after one was refused, or none was sent. It stores the way. The
// caller holds the lock.
func (s *signer) outworn(need []Scope, next way, used *token) bool {
	now := time.Now()
	if s.ways == nil || len(s.ways) >= maxWays {
		s.ways = map[string]way{}
	}
	s.ways[joined(need)] = next
	key := next.key()
	if used == nil || s.tokens[key] != used { // it had none, or another; or another request has renewed it meanwhile
		return true
	}
	age := now.Sub(used.born)
	served := used.served.Load()
	if used.fresh(now) && (age < freshFor && (!served || now.Sub(next.wasted) < refusalFor) || age < refusalFor && !served) {
		next.wasted = now
		s.ways[joined(need)] = next
		return false // it has not expired: the refusal concerns its scope
	}
	s.drop(key)
	return true
}

// basicInstead reports whether to sign in with the password itself: the registry has offered that as well, and its token server is none. One that
// is only away for a moment is turned to again once the registry has refused the password.
func (s *signer) basicInstead(err error) bool {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok || !e.OfToken() || e.Status != http.StatusNotFound && e.Status != http.StatusMethodNotAllowed && e.Status != http.StatusNotImplemented {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.alsoBasic || s.scheme != bearer || s.credential.Anonymous() || s.credential.IdentityToken != "" ||
		!s.denied.IsZero() && time.Since(s.denied) < askAgain {
		return false
	}
	s.scheme = basic
	return true
}

// covers reports whether have includes all scopes of want.
func covers(have, want []Scope) bool { return joined(wanted(have, want)) == joined(have) }

// way returns how to get a token for the needed scopes. The caller holds the lock.
func (s *signer) way(need []Scope) way {
	if known, ok := s.ways[joined(need)]; ok {
		return known
	}
	return way{realm: s.realm, scopes: need}
}

// realmOf returns the URL of the token server. A relative one is relative to the request.
func realmOf(req *http.Request, carrier *wire.Transport, text string) (*url.URL, error) {
	base := *req.URL
	if same, err := carrier.Allowed(&base); err == nil {
		base = *same
	}
	server, err := base.Parse(strings.Trim(text, " \t'"))
	if err != nil {
		return nil, errors.New("the realm of its challenge is not a URL")
	}
	if server.Scheme == "http" && base.Scheme == "https" {
		return nil, fmt.Errorf("a token server without TLS, at %s, is not allowed for a registry with TLS", wire.Clean(server.Host))
	}
	return carrier.Allowed(server)
}

// token returns a token for the needed scopes, from the cache or from the token server. One request at a time asks for it.
func (s *signer) token(ctx context.Context, need []Scope) (*token, error) {
	s.mu.Lock()
	way, credential := s.way(need), s.credential
	key := way.key()
	known, refused := s.tokens[key], s.refusals.check(key, time.Now())
	s.mu.Unlock()
	if known.fresh(time.Now()) {
		return known, nil
	}
	if refused != nil {
		if _, other := s.renew(ctx, credential); !other {
			return nil, refused
		}
	}
	got, err := s.buying.Do(ctx, key, func(ctx context.Context) (*token, error) {
		s.mu.Lock()
		known := s.tokens[key]
		s.mu.Unlock()
		if known.fresh(time.Now()) { // it came while this flight began
			return known, nil
		}
		credential, err := s.find(ctx)
		if err != nil {
			return nil, err
		}
		got, err := s.fetch(ctx, way, credential)
		if e, ok := errors.AsType[*wire.Error](err); ok && denies(e) {
			if other, ok := s.renew(ctx, credential); ok {
				return s.fetch(ctx, way, other)
			}
		}
		return got, err
	})
	return got, s.ended(ctx, err)
}

// fetch asks the token server, and caches its answer for the current credential.
func (s *signer) fetch(ctx context.Context, way way, credential Credential) (*token, error) {
	got, err := s.ask(ctx, way, credential)
	refusal, refused := errors.AsType[*wire.Error](err)
	if refused && denies(refusal) {
		refusal.Hint = s.advice(credential)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case credential != s.credential:
	case refused:
		return nil, s.refusals.note(way.key(), s.locks, !credential.Anonymous(), refusal, time.Now())
	case err == nil:
		s.refusals.served()
		s.keep(way.key(), got)
	}
	return got, err
}

// ask asks the token server: by GET, or by POST where it takes no GET and there is a password to send, unless the host takes that itself.
func (s *signer) ask(ctx context.Context, way way, credential Credential) (*token, error) {
	final := func(e *wire.Error) bool { return s.locks && e.Status == http.StatusTooManyRequests }
	server, has := way.url.String(), credential.Password != "" && credential.IdentityToken == ""
	s.mu.Lock()
	posts, alsoBasic := s.posts == server, s.alsoBasic
	s.mu.Unlock()
	if !posts || !has {
		got, err := way.ask(ctx, s.wire, credential, way.scopes, final)
		if e, ok := errors.AsType[*wire.Error](err); !ok || e.Status != http.StatusMethodNotAllowed || !has || alsoBasic {
			return got, err
		}
	}
	posting := way.realm
	posting.grant = way.form(way.scopes, url.Values{"grant_type": {"password"}, "username": {credential.Username}, "password": {credential.Password}})
	got, err := posting.ask(ctx, s.wire, credential, way.scopes, final)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts = ""
	if err == nil {
		s.posts = server
	}
	return got, err
}

// keep caches a token and drops expired ones, or all if that is not enough. The caller holds the lock.
func (s *signer) keep(key string, t *token) {
	s.drop(key)
	if s.size += len(key) + len(t.text); s.size > maxTokens {
		for key, old := range s.tokens {
			if !old.fresh(time.Now()) {
				s.drop(key)
			}
		}
	}
	if s.tokens == nil || s.size > maxTokens {
		s.tokens, s.size = map[string]*token{}, len(key)+len(t.text)
	}
	s.tokens[key] = t
}

// drop forgets a token. The caller holds the lock.
func (s *signer) drop(key string) {
	if t, ok := s.tokens[key]; ok {
		s.size -= len(key) + len(t.text)
		delete(s.tokens, key)
	}
}

// renew asks the source to replace a refused credential, at most once a minute, and reports whether there is another one.
func (s *signer) renew(ctx context.Context, refused Credential) (Credential, bool) {
	s.mu.Lock()
	if now := time.Now(); s.credential == refused && !s.expires.IsZero() && now.Sub(s.renewed) >= refusalFor {
		s.known, s.renewed = false, now
	}
	s.mu.Unlock()
	credential, err := s.find(ctx)
	return credential, err == nil && credential != refused && !credential.Anonymous()
}

// find returns the credential. One request at a time asks for it; after a failure it is not asked for again for as long as the failure
// took.
func (s *signer) find(ctx context.Context) (Credential, error) {
	s.mu.Lock()
	now := time.Now()
	credential, good := s.credential, s.known && (s.expires.IsZero() || now.Before(s.expires))
	failure, failed := s.failure, now.Before(s.failedUntil)
	s.mu.Unlock()
	switch {
	case good:
		return credential, nil
	case failed:
		return Credential{}, failure
	}
	credential, err := s.seeking.Do(ctx, "", s.seek)
	return credential, s.ended(ctx, err)
}

func (s *signer) seek(ctx context.Context) (Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	begun := time.Now()
	credential, expires, err := s.search(ctx)
	lasts := min(time.Since(begun), refusalFor) // of a failure
	if err != nil {
		err = noCredential(s.wire.Name(), err)
	} else if credential.federated {
		if credential, expires, err = s.exchange(ctx, credential); err != nil {
			lasts = refusalFor
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // otherwise the callers just left
			s.failure, s.failedUntil = err, time.Now().Add(lasts)
		}
		return Credential{}, err
	}
	if s.known && credential.Lacking != "" && credential.Lacking != s.credential.Lacking || !s.known && credential.Lacking != "" {
		s.log.LogAttrs(ctx, slog.LevelWarn, "signing in as nobody", slog.String("registry", s.wire.Name()), slog.String("err", credential.Lacking))
	}
	if credential != s.credential {
		s.tokens, s.size, s.refusals = nil, 0, refusals{}
	}
	s.credential, s.expires, s.known = credential, expires, true
	return credential, nil
}

// ended converts the error of a caller that stopped waiting to this module's form.
func (s *signer) ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return &wire.Error{Host: s.wire.Name(), Operation: "sign in", Attempts: 1, Message: cause.Error(), Cause: cause}
	}
	return err
}

// refuses returns the error of a request that the host refuses with the present credential.
func (s *signer) refuses(ctx context.Context, refusal *wire.Error) error {
	credential, err := s.find(ctx)
	if err != nil {
		return err
	}
	e := *refusal
	e.Hint = s.advice(credential)
	s.mu.Lock()
	scheme := s.scheme
	s.mu.Unlock()
	if scheme == "" && refusal.Status == http.StatusUnauthorized && !credential.Anonymous() {
		e.Hint = "no credential was sent, since the answer names no way to sign in that dray knows (WWW-Authenticate: Basic or Bearer): a proxy may have removed it, or ask for a sign-in of its own"
		return &e
	}
	if refusal.Status == http.StatusUnauthorized && !credential.Anonymous() {
		e.Hint = "the sign-in was refused, or there is no such repository for this account: check registries." + s.wire.Name() + " or docker login"
	}
	return &e
}

// advice says what to do about a refused sign-in.
func (s *signer) advice(c Credential) string {
	name := s.wire.Name()
	switch {
	case c.Lacking != "":
		return "the sign-in was refused: there is no credential, since " + c.Lacking
	case c.Anonymous() && c.Hint != "":
		return "the sign-in was refused: no credential is configured for " + name + "; " + c.Hint
	case c.Anonymous():
		return "the sign-in was refused: no credential is configured for " + name + "; set registries." + name + ", or use docker login"
	}
	return "the sign-in was refused: check registries." + name + ", or docker login"
}

// secrets are what must not appear in an error, in addition to what its request carried.
func (s *signer) secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credential.secrets()
}
