package image

import "errors"

var (
	// ErrAbsent says that a registry or a layout has answered that there is no such manifest, blob, repository or tag. No
	// other failure is ever an ErrAbsent: what could not be asked is not absent.
	ErrAbsent = errors.New("not there")
	// ErrCorrupt says that content is not what its digest or size promises.
	ErrCorrupt = errors.New("content does not match its digest")
)
