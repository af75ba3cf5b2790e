//go:build !unix

package web

import (
	"errors"
	"syscall"
)

func restrict(_, _ string, _ syscall.RawConn) error { return nil }

// refused tells whether nobody answers at a socket. 10061 is WSAECONNREFUSED.
func refused(err error) bool { return errors.Is(err, syscall.Errno(10061)) }
