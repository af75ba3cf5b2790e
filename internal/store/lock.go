package store

import (
	"errors"
	"fmt"
	"os"

	"github.com/draysync/dray/internal/file"
)

// errLocked says that another process, or another Store of this one, holds a lock.
var errLocked = errors.New("is locked by another process")

// lockFile locks a file, which it creates if needed, exclusively or shared. It does not wait: it returns errLocked if someone holds the
// lock. The lock ends with the process.
func lockFile(path string, exclusive bool) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	locked, err := file.TryLock(f, exclusive)
	if locked {
		return func() { _ = file.Unlock(f) }, nil
	}
	if err == nil {
		err = errLocked
	}
	return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
}
