package mirror

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/draysync/dray/internal/diff"
)

// Side is the end of a mapping at which something failed.
type Side string

// The sides.
const (
	Source Side = "source"
	Target Side = "target"
)

// SideError says at which side, and with which reference there, something failed.
type SideError struct {
	Side Side
	// Ref is the reference, repository or blob in question.
	Ref string
	// For is the image that needs it, where Ref is not that itself; may be empty.
	For string
	Err error
}

// ErrStopping is why nothing new begins once [Mirror.Draining] is closed.
var ErrStopping = errors.New("dray is stopping")

// stopping tells whether nothing new is to begin.
func (m *Mirror) stopping() bool {
	select {
	case <-m.Draining:
		return true
	default:
		return false
	}
}

// Error names side, reference, what needs it, and cause in one line.
func (e *SideError) Error() string {
	if e.For != "" {
		return fmt.Sprintf("%s %s, which %s needs: %v", e.Side, e.Ref, e.For, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Side, e.Ref, e.Err)
}

// Unwrap returns the cause.
func (e *SideError) Unwrap() error { return e.Err }

// At wraps err with its side and reference; an error that has a side already, and nil, stay as they are.
func At(side Side, ref fmt.Stringer, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*SideError](err); ok {
		return err
	}
	return &SideError{Side: side, Ref: ref.String(), Err: err}
}

// needed has an error about a manifest, a blob or an attachment say which image needs it. It makes another error of it: the one that was
// given may be that of other imports, too.
func needed(a diff.Action, err error) error {
	e, ok := errors.AsType[*SideError](err)
	if !ok || e.For != "" {
		return err
	}
	image := a.Source
	if e.Side == Target {
		image = a.Target
	}
	full := image.String()
	if image.Tag != "" {
		image.Digest = ""
	}
	tag := image.String()
	if e.Ref == full || e.Ref == tag || strings.HasPrefix(e.Ref, tag+"@") {
		return err
	}
	if err.Error() != e.Error() { // something else is around it
		return fmt.Errorf("%s: %w", tag, err)
	}
	about := *e
	about.For = tag
	return &about
}

// RefusedError is returned by an engine for an offer that it must not take. It becomes a refused action, not a failed one.
type RefusedError struct {
	Reason diff.Reason
	Detail string
}

// Error returns the detail.
func (e *RefusedError) Error() string { return e.Detail }

// retryAt returns when err says that an action may be tried again: any error in the chain with RetryAt() time.Time.
func retryAt(err error) (time.Time, bool) {
	var e interface {
		error
		RetryAt() time.Time
	}
	if errors.As(err, &e) && !e.RetryAt().IsZero() {
		return e.RetryAt(), true
	}
	return time.Time{}, false
}

// temporary tells whether err says of itself that trying again can help.
func temporary(err error) bool {
	var e interface {
		error
		Temporary() bool
	}
	return errors.As(err, &e) && e.Temporary()
}
