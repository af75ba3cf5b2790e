package azure

import (
	"slices"
	"strings"
	"time"
)

// FailureCode is a stable short code for why an import failed; it goes into reports, logs and metrics.
type FailureCode string

// The codes. docs/azure-errors.md explains each; it is generated from the table that [Classify] goes by.
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

// The sides of an import. Azure's own text names the target whichever of them failed.
const (
	SideSource = "source"
	SideTarget = "target"
	// SideAzure is Resource Manager, Entra, or the import service between the registries.
	SideAzure = "azure"
)

// Refusal is what Azure said, unread. Its texts are not to be trusted: they quote what the source answered.
type Refusal struct {
	// Status is the HTTP status; 0 where there was none, as for a credential that could not be had.
	Status int
	// Code is error.code of the body, or whatever stands in its place; may be empty.
	Code string
	// Message is error.message of the body, or all of a body that has no such thing.
	Message string
	// CorrelationID is x-ms-correlation-request-id, by which Microsoft's support finds the request.
	CorrelationID string
	// RetryAfter is how long Azure asks to wait; 0 where it does not.
	RetryAfter time.Duration
	// Polled is set for an answer about an import that was accepted, of whatever status.
	Polled bool
	// Target is the name or login server of the target's registry, by which a host that a text names is told from the source's.
	// Where it is empty, the resource that the message names is taken for the target, as it always was in practice.
	Target string
	// Source is the source's registry; advice for Docker Hub is given where it is that or empty.
	Source string
}

// Failure is a refusal understood. Its texts are of one line each, bounded, and carry no credential.
type Failure struct {
	Kind FailureCode
	// Side is [SideSource], [SideTarget] or [SideAzure].
	Side string
	// Text tells a person what happened, and what the side at fault said of it.
	Text string
	// Advice tells what to do about it: a setting to change, or a role to grant with the line that grants it.
	Advice string
	// Again is what [Failure.Temporary] returns.
	Again bool
	// CopyCures is set where the engine copy may well succeed. For [CodeSourceRateLimited] that takes an account at the source.
	CopyCures bool
	// RetryAfter is the least time to wait before another try, Azure's own or what experience tells; 0 where nothing tells.
	RetryAfter time.Duration
	// CorrelationID is the refusal's, without what does not belong into one.
	CorrelationID string
}

// Error returns text, advice and correlation id in one line.
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

// Temporary tells whether the same import may succeed later without anybody doing anything, after RetryAfter.
func (f Failure) Temporary() bool { return f.Again }

// Classify finds out what a refusal means: by its error code where that says enough, else by the HTTP status of the request,
// else by patterns of the message. What nothing matches is [CodeImportFailed], with Azure's words.
func Classify(r Refusal) Failure {
	said := hear(r)
	rule, found := ruleFor(said)
	return rule.failure(said, found)
}

// ruleFor is the first rule of the table that matches; its last one matches everything.
func ruleFor(h heard) (*failureRule, map[string]string) {
	for i := range taxonomy {
		if found, ok := taxonomy[i].match(h); ok {
			return &taxonomy[i], found
		}
	}
	return &taxonomy[len(taxonomy)-1], nil
}

// NewFailure is a failure that dray finds by itself rather than Azure telling of it, such as [CodeVerifyFailed]. The detail is
// cleaned as Azure's texts are; it may be empty.
func NewFailure(kind FailureCode, detail string) Failure {
	said := heard{detail: detail}
	is := func(r failureRule) bool { return r.kind == kind }
	if i := slices.IndexFunc(foundByDray, is); i >= 0 {
		return foundByDray[i].failure(said, nil)
	}
	if i := slices.IndexFunc(taxonomy, is); i >= 0 {
		return taxonomy[i].failure(said, nil)
	}
	return taxonomy[len(taxonomy)-1].failure(said, nil)
}
