//go:build unix

package layout

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the exclusive lock on a file unless another process has it. Closing the file gives it back, and so does the end of the
// process.
func tryLock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return err == nil, err
		}
	}
}
