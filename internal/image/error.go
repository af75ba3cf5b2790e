package image

import (
	"errors"
	"fmt"
)

var (
	// ErrAbsent says that a registry or a layout has answered that there is no such manifest, blob, repository or tag. No
	// other failure is ever an ErrAbsent: what could not be asked is not absent.
	ErrAbsent = errors.New("not there")
	// ErrHidden says that a registry does not tell whether there is such a thing: to an account that may not see it, or anybody, or as long
	// as nothing was pushed there. It is neither there nor absent.
	ErrHidden = errors.New("the registry does not say whether there is such a thing")
	// ErrUnseen is an [ErrHidden] of a registry whose cloud can bring something there, and leaves what it finds.
	ErrUnseen = fmt.Errorf("%w, and can only be asked to import it", ErrHidden)
	// ErrCorrupt says that content is not what its digest or size promises.
	ErrCorrupt = errors.New("content does not match its digest")
)
