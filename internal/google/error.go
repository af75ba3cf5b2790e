package google

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Error says why there is no token. Its text is one line without secrets.
type Error struct {
	text, advice    string
	none, temporary bool
}

// Error returns what happened and what to do about it.
func (e *Error) Error() string {
	text := "sign in to Google: " + e.text
	if e.advice != "" {
		text += "; " + e.advice
	}
	return text
}

// Hint returns what the user can do about it.
func (e *Error) Hint() string { return e.advice }

// None reports whether there is no credential at all, as opposed to one that was refused.
func (e *Error) None() bool { return e.none }

// Temporary reports whether the same sign-in may succeed later without anyone's intervention.
func (e *Error) Temporary() bool { return e.temporary }

var (
	errNoToken = errors.New("the answer has no token")
	errRefused = errors.New("refused")
)

// fileError is a file of credentials that cannot be used.
type fileError struct {
	path string
	err  error
}

// Error returns the path and what is wrong.
func (e *fileError) Error() string { return e.path + ": " + e.err.Error() }

// Unwrap returns what is wrong.
func (e *fileError) Unwrap() error { return e.err }

// The advice.
const (
	nowhere = "set GOOGLE_APPLICATION_CREDENTIALS to a file of credentials, run gcloud auth application-default login, or run dray with a service account " +
		"(of an instance, or by Workload Identity)"
	checkFile     = "check the file of credentials"
	checkKey      = "check that the key or the login was not revoked, and the clock of this machine"
	checkProvider = "check that the provider of the workload identity pool admits this token: its issuer, audience and attributes"
	mayNotAct     = "give this identity roles/iam.serviceAccountTokenCreator on the service account that it is to act as"
)

// explain condenses an error of x/oauth2, or of this package.
func (s *session) explain(err error) *Error {
	if errors.Is(err, errNowhere) {
		return &Error{none: true, text: err.Error(), advice: nowhere}
	}
	if f := s.failed; f != nil {
		e := &Error{temporary: f.status == 0 || f.status == http.StatusTooManyRequests || f.status == http.StatusRequestTimeout || f.status >= http.StatusInternalServerError}
		if f.status == 0 {
			e.text = f.host + ": " + f.text
		} else {
			e.text = f.host + " answered " + strings.TrimSpace(strconv.Itoa(f.status)+" "+f.code)
			if f.text != "" {
				e.text += ": " + f.text
			}
		}
		e.text = plain(e.text)
		switch {
		case e.temporary:
		case strings.HasPrefix(f.host, "iamcredentials."):
			e.advice = mayNotAct
		case strings.HasPrefix(f.host, "sts."):
			e.advice = checkProvider
		case f.code == "invalid_grant":
			e.advice = checkKey
		}
		return e
	}
	e := &Error{text: plain(err.Error()), temporary: errors.Is(err, context.DeadlineExceeded)}
	if _, ok := errors.AsType[*fileError](err); ok {
		e.advice = checkFile
	}
	return e
}

// maxText limits a text of others, in bytes.
const maxText = 400

// secret matches what is as long as a token: a host, an address or a path of a pool has no part like that.
var secret = regexp.MustCompile(`[A-Za-z0-9_.=-]{64,}`)

// plain returns a text's first line, without what may be a token.
func plain(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	text = secret.ReplaceAllString(text, "…")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
