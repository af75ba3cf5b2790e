package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

const (
	// robotPath is where Quay gives a robot account a password for a token of an OIDC provider ("Keyless authentication with robot accounts" in
	// the docs of Quay), and exchangePath where newer ones do (RFC 8693).
	robotPath    = "/oauth2/federation/robot/token"
	exchangePath = "/sts/token"
	// robotLife is the lifetime of such a password, according to the docs; the password says it, too.
	robotLife = time.Hour
	// robotMargin is how long before its end a password is replaced.
	robotMargin = 5 * time.Minute
)

// Robot returns the [Source] of a robot account of Quay, such as acme+mirror, that signs in with a token of an OIDC provider. The token is in a file,
// which is read anew each time, since whoever writes it replaces it.
func Robot(name, path string) Source {
	return func(context.Context, image.Repository) (Credential, time.Time, error) {
		raw, err := file.ReadText(path, maxToken)
		if failed, ok := errors.AsType[*fs.PathError](err); ok {
			err = failed.Err // "token: no such file" would be redacted
		}
		if err != nil {
			return Credential{}, time.Time{}, fmt.Errorf("there is no token in the file %s (%w)", path, err)
		}
		text := string(bytes.TrimSpace(raw))
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return Credential{}, time.Time{}, fmt.Errorf("there is no token in the file %s", path)
		}
		return Credential{Username: name, Password: text, federated: true}, time.Time{}, nil
	}
}

// exchange gets the password of a robot account from the registry: where it always was, or, if that is no more, where newer ones give it.
func (s *signer) exchange(ctx context.Context, c Credential) (Credential, time.Time, error) {
	at, err := s.wire.Allowed(&url.URL{Scheme: "https", Host: s.wire.Host(), Path: robotPath})
	if err != nil {
		return Credential{}, time.Time{}, s.wire.Fault("sign in", err)
	}
	now := time.Now()
	got, err := realm{url: at}.ask(ctx, s.wire, c, nil, nil)
	ends := now
	switch {
	case err == nil:
		ends = endOf(got.text, now)
	case isGone(err):
		at.Path = exchangePath
		got, err = realm{url: at, grant: url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "resource": {"urn:quay:robot:" + c.Username},
			"subject_token": {c.Password}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		}}.ask(ctx, s.wire, c, nil, nil)
		if err == nil {
			ends = endOf(got.text, now)
			if got.ends.Sub(got.born) > shortLife && got.ends.Before(ends) {
				ends = got.ends
			}
		}
	}
	if e, ok := errors.AsType[*wire.Error](err); ok {
		e.Operation = "sign in"
		switch {
		case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden, e.Status == http.StatusBadRequest:
			e.Hint = "check the issuer and the subject that Quay has for the robot account " + c.Username + ", and that the token in the file has not expired"
		case isGone(err):
			e.Hint = "this registry has no robot federation: it is of Quay 3.13 and later"
		}
	}
	if err != nil {
		return Credential{}, time.Time{}, err
	}
	return Credential{Username: c.Username, Password: got.text}, ends.Add(-min(robotMargin, ends.Sub(now)/2)), nil
}

// isGone reports whether a registry does not know what it was asked for. Quay answers 200 and its web page then.
func isGone(err error) bool {
	if _, ok := errors.AsType[noToken](err); ok {
		return true
	}
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return false
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented:
		return true
	}
	return false
}

// endOf returns when a password ends that is a JSON Web Token, as Quay's are; otherwise an hour after now.
func endOf(password string, now time.Time) time.Time {
	usual := now.Add(robotLife)
	parts := strings.Split(password, ".")
	if len(parts) != 3 {
		return usual
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Ends float64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(raw, &claims) != nil || claims.Ends <= float64(now.Unix()) || claims.Ends > float64(usual.Unix()) {
		return usual
	}
	return time.Unix(int64(claims.Ends), 0)
}
