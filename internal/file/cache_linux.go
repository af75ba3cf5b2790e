package file

import (
	"os"

	"golang.org/x/sys/unix"
)

// DropCache has the system forget what it keeps of a synced file in memory, so that the next read is of the medium. Where that is refused, the
// file is read from memory.
func DropCache(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
