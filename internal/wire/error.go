package wire

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
)

// Error is the final failure of a request, after all tries. It names the host and the cause, never a credential or a query string.
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
	// After is how long the answer asks to wait; 0 where it does not say.
	After time.Duration
	// Hint is what a person can do about it; may be empty.
	Hint string
	// Header is that of the last answer; nil where none came. It is for programs: nothing of it is shown.
	Header http.Header
	// Unanswered is set where no answer came, or none that could be read.
	Unanswered bool
	// Lasting is set where trying again is of no use, and Again where it is, whatever the status says.
	Lasting, Again bool
	// Cause is what went wrong below; may be nil.
	Cause error
}

// Error returns one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Operation, e.Host)
	switch {
	case e.Status != 0:
		fmt.Fprintf(&b, " answered %d %s", e.Status, http.StatusText(e.Status))
	case e.Unanswered && (e.Message != "" || e.Hint == ""): // else the hint says why
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
	switch {
	case e.Hint != "" && e.Status == 0 && text == "" && e.Unanswered:
		fmt.Fprintf(&b, ": %s", e.Hint)
	case e.Hint != "":
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// Unwrap returns image.ErrAbsent for an answer that says so, else the cause, if any.
func (e *Error) Unwrap() error {
	if e.absent() {
		return image.ErrAbsent
	}
	return e.Cause
}

// RetryAt is when the registry allows the next try; zero where it did not say.
func (e *Error) RetryAt() time.Time { return e.NotBefore }

// Temporary tells whether the same request may succeed later.
func (e *Error) Temporary() bool {
	return e.Again || !e.Lasting && (e.Status == 0 || retryableStatus(e.Status))
}

// OfToken tells whether it is a request for a token that has failed.
func (e *Error) OfToken() bool { return strings.HasSuffix(e.Operation, " token") }

// Exhausted tells whether the request was sent as often as it may be.
func (e *Error) Exhausted() bool { return e.Attempts > 1 }

// Code is a stable short code for reports.
func (e *Error) Code() string {
	switch {
	case e.ErrorCode != "":
		return strings.ToLower(strings.ReplaceAll(e.ErrorCode, "_", "-"))
	case e.Status != 0:
		return fmt.Sprintf("http-%d", e.Status)
	case e.Unanswered:
		return "unreachable"
	}
	return "failed"
}

// absent tells whether the registry has answered that there is no such thing. The distribution spec gives 404 to unknown
// manifests, blobs and names; a proxy's 404 in HTML has no code and is believed for lack of anything better.
func (e *Error) absent() bool { return e.Status == http.StatusNotFound }

// Fault is the error of what came, or of what was not asked for: no further try mends it.
func (t *Transport) Fault(operation string, cause error) *Error {
	return &Error{Host: t.name, Operation: operation, Attempts: 1, Message: Clean(cause.Error()), Lasting: true, Cause: cause}
}

// limitError is the error of a rate limit below, which has not sent the request, or has been told by the registry not to.
type limitError interface {
	error
	// RetryAt is when to try again, and Code a stable short code.
	RetryAt() time.Time
	Code() string
}

// limited is the error of a request that a rate limit does not allow now. It says nothing of whether the registry answers.
func limited(host, op string, limit limitError) *Error {
	return &Error{
		Host: host, Operation: op, Attempts: 1, Message: Clean(limit.Error()), ErrorCode: limit.Code(), NotBefore: limit.RetryAt(),
		Lasting: true, Cause: limit,
	}
}
