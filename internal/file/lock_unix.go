//go:build unix

package file

import (
	"errors"
	"os"
	"syscall"
)

// TryLock locks a file, exclusively or shared, and returns false if another process has it. It does not wait. The lock ends with
// [Unlock], and with the process.
func TryLock(f *os.File, exclusive bool) (bool, error) {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return err == nil, err
		}
	}
}

// Unlock ends the lock of a file, and closes it. To close it would not do: a program that this process starts at the same time has a copy of the file
// for a moment, which holds the lock.
func Unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
