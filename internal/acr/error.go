package acr

import (
	"errors"
	"time"

	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// failed is why an import did not succeed, with when to try again.
type failed struct {
	azure.Failure
	at time.Time
}

// Unwrap returns the failure.
func (f *failed) Unwrap() error { return f.Failure }

// RetryAt is when to try again, zero where nothing says so.
func (f *failed) RetryAt() time.Time { return f.at }

// deferredFrom is the pause from which on an import is put off rather than waited for.
const deferredFrom = time.Minute

// fail puts the side that is at fault to a failure.
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

// lookupError is that a registry could not be looked up through the Resource Manager.
type lookupError struct{ error }

// Unwrap returns the cause.
func (l *lookupError) Unwrap() error { return l.error }

// copyCures tells whether the engine copy may succeed where Azure did not. Where a source allows Azure no more pulls, it may allow us some;
// where it does not, the copy is put off.
func copyCures(err error) bool {
	if _, ok := errors.AsType[*lookupError](err); ok {
		return true
	}
	f, ok := errors.AsType[*failed](err)
	return ok && (f.CopyCures || f.Kind == azure.CodeSourceRateLimited)
}

// failureOf finds out what an error of Azure means.
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
