package azure

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Failure is an error of the Resource Manager, in the answer to a POST or as the end of an import.
type Failure struct {
	// Status is the answer's; 0 is 400 Bad Request.
	Status int
	Code   string
	// Message is the error's text. An import's end has the operation and the target's ID in front of it, unless Bare.
	Message string
	Bare    bool
	// RetryAfter is sent with it if it is not 0.
	RetryAfter time.Duration
}

// Error implements error.
func (f *Failure) Error() string { return "(" + f.Code + ") " + f.Message }

// The failures of imports that cannot be brought about from outside, and have to be injected by [Behavior.Fail].

// CopyingBlobs is the service's catch-all, and often passes.
func CopyingBlobs() *Failure { return bare("Error copying blobs") }

// OutOfSpace says that the target is full.
func OutOfSpace() *Failure {
	return invalid("The registry has reached its storage limit. Delete images or upgrade the SKU of the registry.")
}

// TagExists is the end of an import that must not overwrite.
func TagExists(repository, tag string) *Failure {
	return &Failure{Status: http.StatusConflict, Code: "Conflict", Message: "Tag " + repository + ":" + tag + " already exists in target registry."}
}

// SourceLimited is Docker Hub's refusal as the Resource Manager hands it on.
func SourceLimited() *Failure {
	return invalid("An error occurred when getting manifest. StatusCode: 429, TOOMANYREQUESTS: You have reached your unauthenticated pull rate limit.")
}

// Throttled is the Resource Manager's own refusal.
func Throttled(after time.Duration) *Failure {
	return &Failure{
		Status: http.StatusTooManyRequests, Code: "TooManyRequests", RetryAfter: after,
		Message: "The request is being throttled as the limit has been reached for operation type - Write_ObservationWindow_00:05:00. " +
			"For more information, see - https://aka.ms/srpthrottlinglimits",
	}
}

// ServerBroken is an error within the Resource Manager.
func ServerBroken(status int) *Failure {
	return &Failure{Status: status, Code: "InternalServerError", Message: "Encountered internal server error."}
}

func invalid(message string) *Failure { return &Failure{Code: "InvalidParameters", Message: message} }

func bare(message string) *Failure {
	return &Failure{Code: "InvalidParameters", Message: message, Bare: true}
}

// accessDenied is what network rules of either side say.
func accessDenied(host string) *Failure { return invalid("Access to " + host + " denied.") }

// sourceRefused is a source's answer handed on: the name of its status, its phrase and its body.
func sourceRefused(status int, body string) *Failure {
	name := map[int]string{
		http.StatusUnauthorized: "Unauthorized", http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound",
		http.StatusInternalServerError: "InternalServerError", http.StatusBadGateway: "BadGateway", http.StatusServiceUnavailable: "ServiceUnavailable",
	}[status]
	if name == "" {
		name = strconv.Itoa(status)
	}
	return invalid(fmt.Sprintf("Invalid message %s %s %s", name, http.StatusText(status), body))
}

// forbidden is what a principal without a role is told.
func forbidden(who claims, action, scope string) *Failure {
	return &Failure{
		Status: http.StatusForbidden, Code: "AuthorizationFailed",
		Message: fmt.Sprintf("The client '%s' with object id '%s' does not have authorization to perform action '%s%s' over scope '%s' "+
			"or the scope is invalid. If access was recently granted, please refresh your credentials.", who.App, who.Object, provider, action, scope),
	}
}

// linkedForbidden is for one that may import into the target but not read the source.
func linkedForbidden(who claims, target, source string) *Failure {
	return &Failure{
		Status: http.StatusForbidden, Code: "LinkedAuthorizationFailed",
		Message: fmt.Sprintf("The client '%s' with object id '%s' has permission to perform action '%s%s' on scope '%s'; however, "+
			"it does not have permission to perform action 'read' on the linked scope(s) '%s'.", who.App, who.Object, provider, actionImport, target, source),
	}
}

// invalidSource is for a sourceImage that is none.
func invalidSource(image, registry string) *Failure {
	return &Failure{Status: http.StatusBadRequest, Code: "InvalidRequest", Message: fmt.Sprintf(
		"Invalid value %s for property parameters.Source.SourceImage for resource name %s. Kindly refer to the docs: https://aka.ms/acr/import", image, registry)}
}

// resourceMissing is for a registry that is not there.
func resourceMissing(name, group string) *Failure {
	return &Failure{Status: http.StatusNotFound, Code: "ResourceNotFound", Message: fmt.Sprintf(
		"The Resource 'Microsoft.ContainerRegistry/registries/%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", name, group)}
}

// write answers with the failure.
func (f *Failure) write(w http.ResponseWriter) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	w.Header().Set("X-Ms-Failure-Cause", "gateway")
	status := f.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	writeJSON(w, status, map[string]any{"error": map[string]string{"code": f.Code, "message": f.Message}})
}
