//go:build unix

package file

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestUnlock: a lock ends though another process has a copy of the file, as one that is being started has.
func TestUnlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock := func() (*os.File, bool) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		locked, err := TryLock(f, true)
		if err != nil {
			t.Fatal(err)
		}
		return f, locked
	}
	first, locked := lock()
	if !locked {
		t.Error("nobody has it")
	}
	second, locked := lock()
	defer second.Close()
	if locked {
		t.Error("two have it")
	}
	fd, err := syscall.Dup(int(first.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := Unlock(first); err != nil {
		t.Error(err)
	}
	third, locked := lock()
	defer third.Close()
	if !locked {
		t.Error("it was unlocked")
	}
}
