//go:build unix

package web

import (
	"errors"
	"syscall"
)

// restrict gives a socket its permissions before it has a name: on Linux its file is made with them, so that there is no moment at which
// the umask alone decides who may ask.
func restrict(_, _ string, conn syscall.RawConn) error {
	return conn.Control(func(fd uintptr) {
		_ = syscall.Fchmod(int(fd), socketMode) // where that is not possible, the mode is set right after
	})
}

// refused tells whether nobody answers at a socket.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
