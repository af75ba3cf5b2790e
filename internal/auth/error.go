package auth

import (
	"errors"
	"strings"

	"github.com/draysync/dray/internal/wire"
)

// noCredential reports that getting a credential failed. It passes on whether that lasts, its code and its hint.
func noCredential(registry string, err error) *wire.Error {
	e := &wire.Error{Host: registry, Operation: "credentials", Attempts: 1, Message: wire.Clean(err.Error()), Cause: err, Lasting: true}
	if coded, ok := errors.AsType[interface {
		error
		Code() string
	}](err); ok {
		e.Operation = "sign in"
		e.ErrorCode = strings.ToUpper(strings.ReplaceAll(coded.Code(), "-", "_"))
	}
	if hinted, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		e.Hint = hinted.Hint()
		e.Message = wire.Clean(strings.TrimSuffix(err.Error(), "; "+e.Hint))
	}
	if what, ok := strings.CutPrefix(e.Message, "sign in to "); ok { // the operation says it
		e.Operation, e.Message = "sign in", strings.TrimPrefix(what, registry+": ")
	}
	if passing, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err); ok {
		e.Lasting = !passing.Temporary()
	}
	return e
}
