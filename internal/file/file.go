// Package file opens regular files only. Opening a pipe would wait for its other end, perhaps for ever, and opening a device may have
// effects.
package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrIrregular says that a file is a pipe, a device or a socket.
var ErrIrregular = errors.New("not a regular file")

// Open opens a regular file for reading, and follows symbolic links. It never blocks; other files are an error that names them.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.Unwrap(err)} // the caller did not ask for a stat
	}
	if !info.Mode().IsRegular() {
		return nil, irregular(path, info)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err = f.Stat()
	if err == nil && !info.Mode().IsRegular() { // it became a pipe meanwhile
		err = irregular(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func irregular(path string, info fs.FileInfo) error {
	why := ErrIrregular
	if info.IsDir() {
		why = syscall.EISDIR
	}
	return &fs.PathError{Op: "open", Path: path, Err: why}
}

// Read reads a regular file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return content, nil
}
