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

// SideError says at which side, and with which reference, something failed.
type SideError struct {
	Side Side
	// Ref is the reference, repository or blob.
	Ref string
	// For is the image that needs Ref, if that is another; may be empty.
	For string
	Err error
}

// ErrStopping says that nothing new begins, because [Mirror.Draining] is closed.
var ErrStopping = errors.New("dray is stopping")

// stopping reports whether nothing new may begin.
func (m *Mirror) stopping() bool {
	select {
	case <-m.Draining:
		return true
	default:
		return false
	}
}

// Error returns side, reference, the image that needs it, and cause on one line.
func (e *SideError) Error() string {
	if e.For != "" {
		return fmt.Sprintf("%s %s, which %s needs: %v", e.Side, e.Ref, e.For, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Side, e.Ref, e.Err)
}

// Unwrap returns the cause.
func (e *SideError) Unwrap() error { return e.Err }

// At wraps err with its side and reference. It returns nil, and an error that has a side, unchanged.
func At(side Side, ref fmt.Stringer, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*SideError](err); ok {
		return err
	}
	return &SideError{Side: side, Ref: ref.String(), Err: err}
}

// needed adds the image to an error about a manifest, a blob or an attachment. It copies the error, which other imports may share.
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
	if err.Error() != e.Error() { // another error wraps it
		return fmt.Errorf("%s: %w", tag, err)
	}
	about := *e
	about.For = tag
	return &about
}

// RefusedError is returned by an engine for an offer that it must not take. The action then counts as refused, not as failed.
type RefusedError struct {
	Reason diff.Reason
	Detail string
}

// Error returns the detail.
func (e *RefusedError) Error() string { return e.Detail }

// retryAt returns when an action may be tried again, from any error in the chain with RetryAt() time.Time.
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

// temporary reports whether err says that a retry may help.
func temporary(err error) bool {
	var e interface {
		error
		Temporary() bool
	}
	return errors.As(err, &e) && e.Temporary()
}

// looked is the error of a refresh that has brought nothing: the next run looks again, so that thousands of looks at a registry that is gone do
// not pause one after the other.
type looked struct{ error }

func (looked) Temporary() bool { return false }

func (e looked) Unwrap() error { return e.error }
