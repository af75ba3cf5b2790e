package azure

import (
	"slices"
	"strings"
	"time"
)

// FailureCode is a stable short code of the reason why an import failed, for reports, logs and metrics.
type FailureCode string

// The codes. docs/azure-errors.md explains each; it is generated from the table that [Classify] uses.
const (
	CodeSourceRateLimited  FailureCode = "source-rate-limited"
	CodeSourceUnauthorized FailureCode = "source-unauthorized"
	CodeSourceForbidden    FailureCode = "source-forbidden"
	CodeSourceNotFound     FailureCode = "source-not-found"
	CodeSourceIncompatible FailureCode = "source-incompatible"
	CodeTooManyManifests   FailureCode = "too-many-manifests"
	CodePermissionSource   FailureCode = "permission-source"
	CodePermissionTarget   FailureCode = "permission-target"
	CodeTargetNotFound     FailureCode = "target-not-found"
	CodeTargetLocked       FailureCode = "target-locked"
	CodeConflict           FailureCode = "conflict"
	CodeNetworkDenied      FailureCode = "network-denied"
	CodeTransientCopy      FailureCode = "transient-copy"
	CodeThrottled          FailureCode = "throttled"
	CodeTimeout            FailureCode = "timeout"
	CodeVerifyFailed       FailureCode = "verify-failed"
	CodeSignIn             FailureCode = "azure-sign-in"
	CodeConfigInvalid      FailureCode = "config-invalid"
	CodeImportFailed       FailureCode = "import-failed"
)

// The sides of an import. Azure's own text always names the target, whichever side failed.
const (
	SideSource = "source"
	SideTarget = "target"
	// SideAzure is Resource Manager, Entra, or Azure's import service.
	SideAzure = "azure"
)

// Refusal is an error answer of Azure, not yet interpreted. Its texts are untrusted, since they quote the source's answer.
type Refusal struct {
	// Status is the HTTP status; 0 if there was none, as for a credential that was not available.
	Status int
	// Code is error.code of the body, or its equivalent; may be empty.
	Code string
	// Message is error.message of the body, or the entire body if it has none.
	Message string
	// CorrelationID is the header x-ms-correlation-request-id, which Microsoft's support asks for.
	CorrelationID string
	// RetryAfter is how long Azure asks to wait; 0 if it does not.
	RetryAfter time.Duration
	// Polled is set for an answer about an accepted import, whatever its status.
	Polled bool
	// Target is the name or login server of the target's registry. It serves to tell whether a host in a text is the target's or the
	// source's. If it is empty, the resource in the message counts as the target, which was always right in practice.
	Target string
	// Source is the source's registry; advice for Docker Hub is given if it is Docker Hub or empty.
	Source string
}

// Failure is an interpreted refusal. Its texts are one line each, of limited length, and hold no credential.
type Failure struct {
	Kind FailureCode
	// Side is [SideSource], [SideTarget] or [SideAzure].
	Side string
	// Text describes what happened, and quotes the side at fault.
	Text string
	// Advice says what to do: a setting to change, or a role to grant with its command.
	Advice string
	// Again is the result of [Failure.Temporary].
	Again bool
	// CopyCures is set if the engine copy may succeed. For [CodeSourceRateLimited] that takes an account at the source.
	CopyCures bool
	// RetryAfter is the minimum pause before another try, from Azure or from experience; 0 if unknown.
	RetryAfter time.Duration
	// CorrelationID is the refusal's, without invalid characters.
	CorrelationID string
}

// Error returns text, advice and correlation ID on one line.
func (f Failure) Error() string {
	var b strings.Builder
	b.WriteString(f.Text)
	if f.Advice != "" {
		b.WriteString("; " + f.Advice)
	}
	if f.CorrelationID != "" {
		b.WriteString(" (correlation id " + f.CorrelationID + ")")
	}
	return b.String()
}

// Code is the stable short code for reports.
func (f Failure) Code() string { return string(f.Kind) }

// Temporary reports whether the same import may succeed after RetryAfter without anyone's intervention.
func (f Failure) Temporary() bool { return f.Again }

// Classify interprets a refusal: by its error code if that is specific, else by the HTTP status of the request, else by patterns of the
// message. A refusal that matches no rule gets [CodeImportFailed] and Azure's own text.
func Classify(r Refusal) Failure {
	said := hear(r)
	rule, found := ruleFor(said)
	return rule.failure(said, found)
}

// ruleFor returns the first rule of the table that matches; the last one matches everything.
func ruleFor(h heard) (*failureRule, map[string]string) {
	rules := taxonomy()
	for i := range rules {
		if found, ok := rules[i].match(h); ok {
			return &rules[i], found
		}
	}
	return &rules[len(rules)-1], nil
}

// NewFailure returns a failure that dray detects by itself, such as [CodeVerifyFailed]. The detail is sanitized like Azure's texts; it may
// be empty.
func NewFailure(kind FailureCode, detail string) Failure {
	said := heard{detail: detail}
	is := func(r failureRule) bool { return r.kind == kind }
	if i := slices.IndexFunc(foundByDray, is); i >= 0 {
		return foundByDray[i].failure(said, nil)
	}
	rules := taxonomy()
	if i := slices.IndexFunc(rules, is); i >= 0 {
		return rules[i].failure(said, nil)
	}
	return rules[len(rules)-1].failure(said, nil)
}
