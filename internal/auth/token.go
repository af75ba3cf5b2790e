package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/wire"
)

// token is a token from a token server.
type token struct {
	text       string
	born, ends time.Time
	// served is set once a registry has accepted it.
	served atomic.Bool
}

const (
	// shortLife is the life of a token whose answer names none (distribution's token authentication, "expires_in").
	shortLife = time.Minute
	longLife  = 24 * time.Hour
	// leastLife is the shortest believed life: a shorter one would not last until the next request.
	leastLife = time.Second
	// margin is how long before its expiry a token is no longer used, but at most a tenth of its life.
	margin = 30 * time.Second
	// maxToken and tokenDeadline limit the answer of a token server, in bytes and in time. No server accepts a longer header.
	maxToken      = 64 << 10
	tokenDeadline = 30 * time.Second
)

// fresh reports whether the token may be used.
func (t *token) fresh(now time.Time) bool {
	return t != nil && now.Before(t.ends.Add(-min(margin, t.ends.Sub(t.born)/10)))
}

// realm is a token server and the service that the token is for.
type realm struct {
	url     *url.URL
	service string
	// grant is the form to post in place of what follows from the credential; nil for none.
	grant url.Values
}

// noToken is why a complete answer has no token.
type noToken struct{ error }

// Unwrap returns the cause.
func (n noToken) Unwrap() error { return n.error }

// ask requests a token. It reads a limited answer.
func (r realm) ask(ctx context.Context, carrier *wire.Transport, c Credential, scopes []Scope, final func(*wire.Error) bool) (*token, error) {
	req, err := r.request(ctx, c, scopes)
	if err != nil {
		return nil, err
	}
	born := time.Now()
	var got *token
	call := wire.Call{
		Operation: req.Method + " token", Lane: wire.Tokens, Deadline: tokenDeadline, Final: final,
		Secrets: c.secrets,
		Read: func(resp *http.Response) error {
			raw, err := wire.ReadAll(resp, maxToken)
			if errors.Is(err, wire.ErrTooLong) {
				return noToken{err}
			}
			if err != nil {
				return err
			}
			if got, err = parseToken(raw, born); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				return noToken{err}
			}
			return err
		},
	}
	for range maxRedirects {
		resp, err := carrier.Do(req, call)
		if err != nil || got != nil {
			return got, err
		}
		if req, err = elsewhere(carrier, req, resp, c.Anonymous()); err != nil {
			return nil, carrier.Fault(call.Operation, err)
		}
	}
	return nil, carrier.Fault(call.Operation, fmt.Errorf("the token server redirects more than %d times, the last time to %s", maxRedirects, wire.ShownHost(req.URL.Host)))
}

// elsewhere makes the request to which a token server redirects. A request with a secret stays at its host.
func elsewhere(carrier *wire.Transport, req *http.Request, resp *http.Response, anonymous bool) (*http.Request, error) {
	location, err := req.URL.Parse(resp.Header.Get("Location"))
	if err != nil {
		return nil, errors.New("a request for a token was redirected to an invalid URL")
	}
	to, err := carrier.Allowed(location)
	if err == nil && (to.Host != req.URL.Host || to.Scheme != req.URL.Scheme || req.Method != http.MethodGet) && !anonymous {
		err = fmt.Errorf("a request for a token was redirected to %s, which is not allowed for one with a secret", wire.Clean(to.Host))
	}
	if err != nil {
		return nil, fmt.Errorf("redirected: %w", err)
	}
	next := req.Clone(req.Context())
	next.URL, next.Host = to, ""
	return next, nil
}

// form adds to a grant of OAuth 2 what the token is for.
func (r realm) form(scopes []Scope, grant url.Values) url.Values {
	grant.Set("service", r.service)
	grant.Set("client_id", "dray")
	if len(scopes) > 0 {
		grant.Set("scope", joined(scopes))
	}
	return grant
}

// request makes the token request: with an identity token by OAuth 2 (distribution, "Docker Registry v2 authentication using OAuth2"),
// otherwise with a password or none ("Token Authentication Specification").
func (r realm) request(ctx context.Context, c Credential, scopes []Scope) (*http.Request, error) {
	form := r.grant
	if form == nil && c.IdentityToken != "" {
		form = r.form(scopes, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.IdentityToken}})
	}
	if form != nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url.String(), strings.NewReader(form.Encode()))
		if err != nil {
			return nil, fmt.Errorf("request for a token: %w", err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return req, nil
	}
	u := *r.url
	query := u.Query()
	if r.service != "" {
		query.Set("service", r.service)
	}
	for _, s := range scopes {
		query.Add("scope", string(s))
	}
	if c.Username != "" {
		query.Set("account", c.Username)
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("request for a token: %w", err)
	}
	if !c.Anonymous() {
		req.SetBasicAuth(c.Username, c.Password)
	}
	return req, nil
}

// parseToken reads the answer of a token server. It decodes the fields one by one, since some servers write numbers as strings; an error
// names the field. Like Docker, it ignores what follows the object.
func parseToken(raw []byte, born time.Time) (*token, error) {
	var answer *struct { // names in any case, as Docker reads them
		Token       json.RawMessage `json:"token"`
		AccessToken json.RawMessage `json:"access_token"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
	}
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&answer); err != nil || answer == nil {
		said, text := "", bytes.TrimSpace(raw)
		if bytes.HasPrefix(text, []byte("<")) || bytes.HasPrefix(text, []byte(`"`)) && bytes.ContainsRune(text, ' ') { // else it may be the token
			said = wire.SaidIn(raw, "")
		}
		switch {
		case len(text) == 0:
			return nil, errors.New("the token answer is empty, and not a JSON object: the server that the registry names for tokens may not be one")
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, fmt.Errorf("the token answer: %w", io.ErrUnexpectedEOF)
		case said != "":
			return nil, fmt.Errorf("the token answer is not a JSON object, but %s", said)
		}
		return nil, errors.New("the token answer is not a JSON object")
	}
	for i, field := range []json.RawMessage{answer.Token, answer.AccessToken} {
		name := []string{"token", "access_token"}[i]
		if field == nil || string(field) == "null" || string(field) == `""` {
			continue
		}
		var text string
		if json.Unmarshal(field, &text) != nil || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("the field %q of the token answer is not a valid header value", name)
		}
		life, err := lifeOf(answer.ExpiresIn)
		if err != nil {
			return nil, err
		}
		return &token{text: text, born: born, ends: born.Add(life)}, nil
	}
	text := `the answer with the token has neither the field "token" nor "access_token"`
	if said := wire.SaidIn(raw, ""); said != "" {
		text += "; it says: " + said
	}
	return nil, errors.New(text)
}

// lifeOf reads expires_in, in seconds.
func lifeOf(raw json.RawMessage) (time.Duration, error) {
	text := strings.Trim(string(raw), `"`)
	if text == "" || text == "null" {
		return shortLife, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) {
		return 0, errors.New(`the field "expires_in" of the answer with the token is not a number of seconds`)
	}
	if seconds <= 0 {
		return shortLife, nil
	}
	return max(leastLife, time.Duration(min(seconds, longLife.Seconds())*float64(time.Second))), nil
}
