//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile takes a lock on a file that it creates where needed, exclusive or shared with others, and does not wait for it:
// errLocked says that somebody holds it. The lock ends with the process.
func lockFile(path string, exclusive bool) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for {
		err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	switch {
	case err == nil:
		return func() { _ = f.Close() }, nil // closing gives the lock back
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = errLocked
	}
	return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
}
