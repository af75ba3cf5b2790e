package image

import (
	"errors"
	"fmt"
)

var (
	// ErrAbsent says that a registry or a layout has answered that a manifest, blob, repository or tag does not exist. No other failure is
	// ever an ErrAbsent: what could not be asked is not absent.
	ErrAbsent = errors.New("not there")
	// ErrHidden says that a registry does not tell whether an object exists: to this account, or to anyone, or as long as nothing was
	// pushed there. The object is neither present nor absent.
	ErrHidden = errors.New("the registry does not say whether there is such a thing")
	// ErrUnseen is an [ErrHidden] of a registry whose cloud can import there, and leaves what it finds.
	ErrUnseen = fmt.Errorf("%w, and can only be asked to import it", ErrHidden)
	// ErrCorrupt says that content does not match its digest or size.
	ErrCorrupt = errors.New("content does not match its digest")
)

// MovedError is an [ErrAbsent] of a registry that does not have the manifest that it named for a tag, such as by a HEAD that a cache answered, and
// gives another one.
type MovedError struct {
	// Ref is the tag, with the digest that the registry named.
	Ref Reference
	// Now is what the registry gives for the tag. Its digest is that of the bytes.
	Now Descriptor
}

// Error says what was named and what there is.
func (e *MovedError) Error() string {
	return fmt.Sprintf("the registry does not have the manifest that it named for the tag %s, and gives %s for it", e.Ref.Tag, e.Now.Digest)
}

// Unwrap returns [ErrAbsent].
func (*MovedError) Unwrap() error { return ErrAbsent }
