package watch

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxRead is how much of a file counts, in bytes: more than dray takes of any config or secret.
const maxRead = 17 << 20

// content is what is known of a file; == tells whether two are the same.
type content struct {
	state state
	sum   [sha256.Size]byte
}

type state byte

const (
	missing state = iota
	unreadable
	readable
)

// peek keeps nothing but the sum.
func peek(path string) content {
	hash := sha256.New()
	if err := copyFile(hash, path); err != nil {
		return failed(err)
	}
	c := content{state: readable}
	hash.Sum(c.sum[:0])
	return c
}

func failed(err error) content {
	if errors.Is(err, fs.ErrNotExist) {
		return content{state: missing}
	}
	return content{state: unreadable}
}

func copyFile(to io.Writer, path string) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, io.LimitReader(f, maxRead))
	return err
}

// open never waits for a writer, and leaves alone what is more than a file: opening a pipe or a device does something to it.
func open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, irregular(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() { // it became a pipe meanwhile
		f.Close()
		return nil, irregular(path)
	}
	return f, nil
}

func irregular(path string) error {
	return &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
}
