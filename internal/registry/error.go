package registry

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/regclient/regclient/types/errs"
)

// Error is the final failure of a request to a registry, after all retries. It names the host and the cause, never a
// credential or a query string.
type Error struct {
	// Host is the registry or token server that was asked.
	Host string
	// Operation is what was asked, such as "GET manifest".
	Operation string
	// Status is the HTTP status of the last answer; 0 where none came.
	Status int
	// ErrorCode is the code in the body (OCI distribution spec, "Error Codes"), such as MANIFEST_UNKNOWN; often empty.
	ErrorCode string
	// Message is the registry's text, or the cause where no answer came, on one line, bounded and redacted.
	Message string
	// Attempts is how often the request was sent.
	Attempts int
	// NotBefore is when the registry allows the next try, where it said so; zero otherwise.
	NotBefore time.Time
	// Hint is what a person can do about it; may be empty.
	Hint string

	cause error
	// plain is set where the message says it all: something came, or was never asked for.
	plain bool
	// again is set where the next try has what this one lacked, whatever the status says.
	again bool
	// way is what the answer says of the way out.
	way wayOut
	// tokenRefused is set where the registry has refused a token that it was given.
	tokenRefused bool
}

// Error returns one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Operation, e.Host)
	switch {
	case e.Status != 0:
		fmt.Fprintf(&b, " answered %d %s", e.Status, http.StatusText(e.Status))
	case !e.plain:
		b.WriteString(" gave no answer")
	}
	text := strings.TrimPrefix(strings.TrimSpace(e.ErrorCode+" "+e.Message), "UNKNOWN ")
	if text == "" && e.absent() && strings.HasSuffix(e.Operation, " manifest") { // an answer to HEAD has no body that says so
		text = "there is no such tag or repository, or not for this sign-in"
	}
	if text != "" {
		fmt.Fprintf(&b, ": %s", text)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (%d attempts)", e.Attempts)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// limitError is the error of a rate limit in [Options.Wrap], which has not sent the request, or has been told by the registry not to.
type limitError interface {
	error
	// RetryAt is when to try again, and Code a stable short code.
	RetryAt() time.Time
	Code() string
}

// limited is the error of a request that a rate limit does not allow now. It says nothing of whether the registry answers.
func limited(req *http.Request, op string, limit limitError) *Error {
	return &Error{
		Host: req.URL.Host, Operation: op, Attempts: 1, Message: clean(limit.Error()), ErrorCode: limit.Code(), plain: true, NotBefore: limit.RetryAt(),
		cause: permanentError{limit},
	}
}

// Unwrap returns image.ErrAbsent for an answer that says so, else the cause, if any.
func (e *Error) Unwrap() error {
	if e.absent() {
		return image.ErrAbsent
	}
	return e.cause
}

// Is makes an answer 404 regclient's own error for it, too, by which it tells a missing list of referrers from a failure.
func (e *Error) Is(target error) bool { return target == errs.ErrNotFound && e.absent() }

// RetryAt is when the registry allows the next try; zero where it did not say.
func (e *Error) RetryAt() time.Time { return e.NotBefore }

// Temporary tells whether the same request may succeed later.
func (e *Error) Temporary() bool {
	if e.way.lasting {
		return false
	}
	return e.again || e.Status == 0 && !permanent(e.cause) || retryableStatus(e.Status)
}

// Exhausted tells whether the request was sent as often as it may be.
func (e *Error) Exhausted() bool { return e.Attempts > 1 }

// Code is a stable short code for reports.
func (e *Error) Code() string {
	switch {
	case e.ErrorCode != "":
		return strings.ToLower(strings.ReplaceAll(e.ErrorCode, "_", "-"))
	case e.Status != 0:
		return fmt.Sprintf("http-%d", e.Status)
	case e.plain:
		return "failed"
	}
	return "unreachable"
}

// absent tells whether the registry has answered that there is no such thing. The distribution spec gives 404 to unknown
// manifests, blobs and names; a proxy's 404 in HTML has no code and is believed for lack of anything better.
func (e *Error) absent() bool { return e.Status == http.StatusNotFound }

// errorBody is the body of a failure by the OCI distribution spec, "Error Codes".
type errorBody struct {
	Errors []struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
	// Details is what token servers and Docker Hub's API use.
	Details string `json:"details"`
}

const maxErrorBody = 64 << 10

// readBody fills code and message from a failure's body, cleaned, and closes it.
func (e *Error) readBody(resp *http.Response, clean func(string) string) {
	defer resp.Body.Close()
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what could be read is what there is to tell
	var body errorBody
	if json.Unmarshal(raw, &body) == nil {
		if len(body.Errors) > 0 {
			e.ErrorCode, e.Message = clean(body.Errors[0].Code), clean(body.Errors[0].Message)
		} else {
			e.Message = clean(body.Details)
		}
		return
	}
	var store struct{ Code, Message string }
	switch {
	case bytes.HasPrefix(bytes.TrimSpace(raw), []byte("<")) && xml.Unmarshal(raw, &store) == nil && store.Code != "":
		e.Message = clean(store.Code + " " + store.Message) // the rest is what was signed, and by which key
	case !strings.Contains(resp.Header.Get("Content-Type"), "html"):
		e.Message = clean(string(raw))
	}
}

var (
	controls = regexp.MustCompile(`[\x00-\x1f\x7f\x{80}-\x{9f}]+`)
	// Docker Hub names the account and a token id in its 429s: "as 'user': dckr_jti_…=".
	tokenID     = regexp.MustCompile(`dckr_[a-z]+_[A-Za-z0-9_-]+=*`)
	accountName = regexp.MustCompile(`\bas '[^']*'`)
	// A URL may carry a user and, in its query, a signature or the state of an upload.
	urlQuery = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://[^\s?"'<>)]*)\?[^\s"'<>)]*`)
	anyQuery = regexp.MustCompile(`\?[^\s?"'<>)]*=[^\s"'<>)]*`) // of a URL without a scheme
	// Elements of the errors of S3, Azure and the like that repeat what was signed, and by which key.
	signedXML = regexp.MustCompile(`(?is)<((?:AWS)?AccessKeyId|Signature\w*|StringToSign\w*|CanonicalRequest\w*|\w*Credential\w*|AuthenticationErrorDetail)>[^<]*`)
	urlUser   = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#@"']*@`)
	bearer    = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`)
)

// clean makes a registry's text fit for one line of a log: bounded, without control characters, account names, tokens and the
// queries of URLs.
func clean(s string) string {
	s = strings.TrimSpace(controls.ReplaceAllString(strings.ToValidUTF8(s, "?"), " "))
	s = urlUser.ReplaceAllString(anyQuery.ReplaceAllString(urlQuery.ReplaceAllString(s, "$1"), ""), "$1")
	s = signedXML.ReplaceAllString(s, "<$1>[redacted]")
	s = tokenID.ReplaceAllString(s, "[redacted]")
	s = accountName.ReplaceAllString(s, "as [redacted]")
	s = bearer.ReplaceAllString(s, "$1 [redacted]")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// wrap turns what regclient returns into an error of this package. What went through the transport is an *Error already;
// the rest is regclient's own refusal, whose text is freed of URLs.
func wrap(operation, host string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Host: host, Operation: operation, cause: err, Attempts: 1, plain: true}
	switch {
	case errors.Is(err, errs.ErrHTTPUnauthorized), errors.Is(err, errs.ErrNoNewChallenge), errors.Is(err, errs.ErrEmptyChallenge):
		e.Status, e.tokenRefused = http.StatusUnauthorized, true
		e.Hint = "the sign-in was refused, or there is no such repository for this account: check registries." + host + " or docker login"
	case errors.Is(err, errs.ErrRetryLimitExceeded): // two challenges: the token ended again while the request waited for its turn
		e.Status, e.again, e.tokenRefused = http.StatusUnauthorized, true, true
	case errors.Is(err, errs.ErrNotFound):
		e.Status = http.StatusNotFound
	case errors.Is(err, errs.ErrDigestMismatch):
		e.ErrorCode, e.Message, e.cause = "DIGEST_MISMATCH", clean(err.Error()), permanentError{image.ErrCorrupt}
	default:
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		e.Message = clean(err.Error())
		e.cause = permanentError{err}
	}
	return e
}

// permanentError marks a cause that no retry mends.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

func permanent(err error) bool {
	_, ok := errors.AsType[permanentError](err)
	return ok
}
