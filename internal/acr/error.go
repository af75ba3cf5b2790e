package acr

import (
	"errors"
	"time"

	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// failed is why an import did not succeed, and when to try again.
type failed struct {
	azure.Failure
	at time.Time
}

// Unwrap returns the failure.
func (f *failed) Unwrap() error { return f.Failure }

// RetryAt returns when to try again, zero if unknown.
func (f *failed) RetryAt() time.Time { return f.at }

// deferredFrom is the shortest pause for which an import is deferred instead of waiting.
const deferredFrom = time.Minute

// fail adds the side at fault to a failure.
func fail(f azure.Failure, source, target image.Reference) error {
	err := &failed{Failure: f}
	if f.Again && f.RetryAfter >= deferredFrom {
		err.at = time.Now().Add(f.RetryAfter)
	}
	if f.Side == azure.SideSource {
		return mirror.At(mirror.Source, source, err)
	}
	return mirror.At(mirror.Target, target, err)
}

// lookupError reports a failed lookup of a registry through the Resource Manager.
type lookupError struct{ error }

// Unwrap returns the cause.
func (l *lookupError) Unwrap() error { return l.error }

// copyCures reports whether the engine copy may succeed after Azure failed. A source that allows Azure no more pulls may still allow dray
// some; if not, the copy is deferred.
func copyCures(err error) bool {
	if _, ok := errors.AsType[*lookupError](err); ok {
		return true
	}
	f, ok := errors.AsType[*failed](err)
	return ok && (f.CopyCures || f.Kind == azure.CodeSourceRateLimited)
}

// failureOf determines the meaning of an error of Azure.
func failureOf(err error, source, registry string, polled bool) azure.Failure {
	if refused, ok := errors.AsType[*azure.ResponseError](err); ok {
		return azure.Classify(azure.Refusal{
			Status: refused.Status, Code: refused.Code, Message: refused.Message, CorrelationID: refused.CorrelationID,
			RetryAfter: refused.RetryAfter, Polled: polled, Source: source, Target: registry,
		})
	}
	if signIn, ok := errors.AsType[*azure.SignInError](err); ok {
		return signIn.Failure
	}
	return azure.NewFailure(azure.CodeImportFailed, err.Error())
}

func isAbsent(err error) bool { return errors.Is(err, image.ErrAbsent) }
