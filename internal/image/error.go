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
