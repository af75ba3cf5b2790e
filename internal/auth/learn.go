package auth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/draysync/dray/internal/wire"
)

// Some registries name the way to sign in at /v2/ only, where Docker asks for it first: to who does not sign in they answer 401 without a
// challenge elsewhere, or serve what is public and say 403 or 404 of the rest.

// askAgain is how long a registry is not asked again how to sign in.
const askAgain = 10 * time.Minute

// pingDeadline limits one attempt to ask.
const pingDeadline = 30 * time.Second

// learn asks at /v2/ how to sign in after an unsigned request was refused without a challenge, and reports whether the request is worth another
// try. It believes only a way by which the registry has accepted the credential.
func (s *signer) learn(req *http.Request, call wire.Call, used signature, failure error) bool {
	e, ok := errors.AsType[*wire.Error](failure)
	if !ok || !s.home || e.Operation != call.Operation || used != (signature{}) || hasBody(req) && req.GetBody == nil {
		return false
	}
	credential, err := s.find(req.Context())
	switch e.Status {
	case http.StatusUnauthorized:
	case http.StatusForbidden, http.StatusNotFound:
		if credential.Anonymous() {
			return false
		}
	default:
		return false
	}
	if err != nil {
		return false
	}
	scheme, err := s.asking.Do(req.Context(), "", func(ctx context.Context) (string, error) { return s.ping(ctx, req), nil })
	if scheme == basic && (credential.Anonymous() || credential.IdentityToken != "") {
		return false
	}
	return err == nil && scheme != ""
}

// ping signs in at /v2/, and takes over the way there. It returns the scheme; empty for none.
func (s *signer) ping(ctx context.Context, refused *http.Request) string {
	s.mu.Lock()
	scheme, lately := s.scheme, !s.asked.IsZero() && time.Since(s.asked) < askAgain
	s.mu.Unlock()
	if scheme != "" || lately {
		return scheme
	}
	req := refused.Clone(ctx)
	req.Method, req.Body, req.GetBody, req.ContentLength = http.MethodGet, nil, nil, 0
	req.URL.Path, req.URL.RawPath, req.URL.RawQuery = "/v2/", "", ""
	req.Header = http.Header{}
	if agent := refused.Header.Get("User-Agent"); agent != "" {
		req.Header.Set("User-Agent", agent)
	}
	try := &signer{wire: s.wire, source: func(ctx context.Context) (Credential, time.Time, error) {
		credential, err := s.find(ctx)
		return credential, time.Time{}, err
	}, locks: s.locks, log: s.log}
	resp, err := try.do(req, wire.Call{Operation: "sign in", Deadline: pingDeadline, Once: true, Read: func(resp *http.Response) error {
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxToken))
		return err //nolint:wrapcheck // the wire says what broke
	}}, nil)
	if ctx.Err() != nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = time.Now()
	if err == nil && resp.StatusCode < http.StatusMultipleChoices && s.scheme == "" {
		s.scheme, s.realm = try.scheme, try.realm
	}
	return s.scheme
}
