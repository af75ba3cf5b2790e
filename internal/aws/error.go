package aws

import (
	"context"
	"errors"
	"net/http"
	"strings"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Error says why there is no token for a registry, no repository in it, or no list of its tags. Its text is one line without secrets.
type Error struct {
	what, text, advice string
	none, temporary    bool
}

// Error returns what happened and what to do about it.
func (e *Error) Error() string {
	text := e.what + ": " + e.text
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

// credentialError is a failure to find a credential or to assume a role, before ECR is asked.
type credentialError struct{ error }

// Unwrap returns the SDK's error.
func (e *credentialError) Unwrap() error { return e.error }

// metadataError is a failure at the metadata service of an instance.
type metadataError struct{ error }

// Unwrap returns the SDK's error.
func (e *metadataError) Unwrap() error { return e.error }

// nowhere is the advice if there is no credential.
const nowhere = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run dray with a role: of a service account (IRSA, Pod Identity), " +
	"of a task, or of an instance (from a container its metadata need a hop limit of 2)"

// The advice for codes of AWS.
const (
	checkKeys  = "check the credential that dray runs with"
	checkClock = "check the secret key, and the clock of this machine"
	renewKeys  = "the credential has expired: renew it"
	allow      = "allow it in IAM: ecr:GetAuthorizationToken on * (for ECR Public ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken), and in the " +
		"trust policy of a role that is to be assumed"
	allowListing  = "allow ecr:ListImages in IAM"
	allowCreation = "allow it in IAM: ecr:CreateRepository, with tags ecr:TagResource, with a lifecycle policy ecr:PutLifecyclePolicy"
)

// What is done.
const (
	signsIn = "sign in to AWS"
	creates = "create the repository"
	lists   = "list the images"
)

func adviceFor(code, what string) string {
	switch code {
	case "UnrecognizedClientException", "InvalidClientTokenId", "IncompleteSignature", "MissingAuthenticationToken":
		return checkKeys
	case "SignatureDoesNotMatch", "InvalidSignatureException", "RequestExpired":
		return checkClock
	case "ExpiredToken", "ExpiredTokenException":
		return renewKeys
	case "AccessDenied", "AccessDeniedException":
		switch what {
		case creates:
			return allowCreation
		case lists:
			return allowListing
		}
		return allow
	case "InvalidIdentityToken", "IDPCommunicationError", "IDPRejectedClaim":
		return "check that the role trusts the cluster's issuer and this service account"
	}
	return ""
}

// explain condenses an error of the SDK. late says that the time for it ended.
func explain(what string, err error, late bool) *Error {
	_, ofCredential := errors.AsType[*credentialError](err)
	if ofCredential {
		what = signsIn
	}
	response, answered := errors.AsType[*smithyhttp.ResponseError](err)
	status := 0
	if answered && response.Response != nil {
		status = response.HTTPStatusCode()
	}
	if _, ok := errors.AsType[*metadataError](err); ok && status != http.StatusTooManyRequests && status < http.StatusInternalServerError {
		return &Error{none: true, what: what, text: "there is no credential in the environment, in the shared config files, of a container or of an instance", advice: nowhere}
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		throttled := status == http.StatusTooManyRequests || strings.Contains(api.ErrorCode(), "Throttl") || api.ErrorCode() == "TooManyRequestsException"
		text := operation(err) + "AWS answered " + api.ErrorCode()
		if message := plain(api.ErrorMessage()); message != "" && !strings.Contains(api.ErrorCode(), "Signature") { // that quotes the request
			text += ": " + message
		}
		return &Error{what: what, temporary: throttled || status >= http.StatusInternalServerError || api.ErrorCode() == "IDPCommunicationError", text: text, advice: adviceFor(api.ErrorCode(), what)}
	}
	_, unsent := errors.AsType[*smithyhttp.RequestSendError](err)
	temporary := late || unsent || status == http.StatusTooManyRequests || status >= http.StatusInternalServerError || errors.Is(err, context.DeadlineExceeded)
	e := &Error{what: what, temporary: temporary, text: plain(err.Error())}
	if ofCredential && !temporary {
		e.advice = "check the AWS settings in the environment and in the shared config files"
	}
	return e
}

// operation returns what was asked of AWS, followed by a colon; empty if unknown.
func operation(err error) string {
	if o, ok := errors.AsType[*smithy.OperationError](err); ok {
		return o.Service() + " " + o.Operation() + ": "
	}
	return ""
}

// maxText limits a text of AWS, in bytes.
const maxText = 400

// plain returns a text's first line.
func plain(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
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
