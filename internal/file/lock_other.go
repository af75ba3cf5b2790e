//go:build !unix

package file

import "os"

// TryLock locks nothing: outside Unix nothing ensures that only one process writes a layout, and the system itself refuses to move a
// database that is in use.
func TryLock(*os.File, bool) (bool, error) { return true, nil }

// Unlock closes a file.
func Unlock(f *os.File) error { return f.Close() }
