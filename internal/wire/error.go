package wire

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
)

// Error is the final failure of a request, after all retries. It names the host and the cause, never a credential or a query string.
type Error struct {
	// Host is the registry or token server that was asked.
	Host string
	// Operation names the request, such as "GET manifest".
	Operation string
	// Status is the HTTP status of the last answer; 0 if none came.
	Status int
	// ErrorCode is the code in the body (OCI distribution spec, "Error Codes"), such as MANIFEST_UNKNOWN; often empty.
	ErrorCode string
	// Message is the registry's text, or the cause if no answer came, on one line, bounded and redacted.
	Message string
	// Attempts is how often the request was sent.
	Attempts int
	// NotBefore is the earliest time of the next attempt, if the registry named one.
	NotBefore time.Time
	// After is the pause that the answer asks for; 0 if it names none.
	After time.Duration
	// Hint tells the user what to do; may be empty.
	Hint string
	// Header is the header of the last answer; nil if none came. It is for code and is never shown.
	Header http.Header
	// Unanswered is set if no answer came, or none that could be read.
	Unanswered bool
	// Lasting says that a retry cannot help, Again that it can, whatever the status.
	Lasting, Again bool
	// Cause is the underlying error; may be nil.
	Cause error
}

// Error returns one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Operation, e.Host)
	switch {
	case e.Status != 0:
		fmt.Fprintf(&b, " answered %d %s", e.Status, http.StatusText(e.Status))
	case e.Unanswered && (e.Message != "" || e.Hint == ""): // otherwise the hint says why
		b.WriteString(" gave no answer")
	}
	text := strings.TrimPrefix(strings.TrimSpace(e.ErrorCode+" "+e.Message), "UNKNOWN ")
	if text == "" && e.absent() && strings.HasSuffix(e.Operation, " manifest") { // HEAD answers have no body
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

// Unwrap returns image.ErrAbsent if the answer says that, otherwise the cause.
func (e *Error) Unwrap() error {
	if e.absent() {
		return image.ErrAbsent
	}
	return e.Cause
}

// RetryAt returns the earliest time of the next attempt; zero if the registry named none.
func (e *Error) RetryAt() time.Time { return e.NotBefore }

// Temporary reports whether the same request may succeed later.
func (e *Error) Temporary() bool {
	return e.Again || !e.Lasting && (e.Status == 0 || retryableStatus(e.Status))
}

// OfToken reports whether the failed request asked for a token.
func (e *Error) OfToken() bool { return strings.HasSuffix(e.Operation, " token") }

// Exhausted reports whether all attempts were used.
func (e *Error) Exhausted() bool { return e.Attempts > 1 }

// Code returns a stable short code for reports.
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

// absent reports whether the registry answered that the object does not exist. The distribution spec assigns 404 to unknown manifests,
// blobs and names; a proxy's HTML 404 carries no code and counts too, for lack of anything better. A registry without a catalog says nothing of
// its repositories. To who reads, the spec's codes say the same with any status that is not about rights.
func (e *Error) absent() bool {
	switch e.Status {
	case http.StatusNotFound:
		return !strings.HasSuffix(e.Operation, " catalog")
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone, http.StatusUnavailableForLegalReasons, http.StatusNotImplemented:
	default:
		return false
	}
	switch e.Operation {
	case "GET manifest":
		return e.ErrorCode == "MANIFEST_UNKNOWN" || e.ErrorCode == "NAME_UNKNOWN"
	case "GET blob":
		return e.ErrorCode == "BLOB_UNKNOWN" || e.ErrorCode == "NAME_UNKNOWN"
	case "GET tag list":
		return e.ErrorCode == "NAME_UNKNOWN"
	}
	return false
}

// Fault is the error of an answer that a retry would not change.
func (t *Transport) Fault(operation string, cause error) *Error {
	return &Error{Host: t.name, Operation: operation, Attempts: 1, Message: Clean(cause.Error()), Lasting: true, Cause: cause}
}

// limitError is the error of a rate limiter below, which did not send the request, or whose registry refused it.
type limitError interface {
	error
	// RetryAt is the time of the next attempt, Code a stable short code.
	RetryAt() time.Time
	Code() string
}

// limited returns the error of a request that a rate limit does not allow now. It does not mean that the registry is down.
func limited(host, op string, limit limitError) *Error {
	return &Error{
		Host: host, Operation: op, Attempts: 1, Message: Clean(limit.Error()), ErrorCode: limit.Code(), NotBefore: limit.RetryAt(),
		Lasting: true, Cause: limit,
	}
}
