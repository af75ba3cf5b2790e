// Package file opens regular files only. Opening a pipe would wait for its other end, perhaps for ever, and opening a device may have
// effects.
package file

import (
	"bytes"
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
	return onlyRegular(f)
}

// onlyRegular closes a file that became a pipe between the look at it and its opening.
func onlyRegular(f *os.File) (*os.File, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = irregular(f.Name(), info)
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

// OpenBelow opens a regular file below a folder, as [Open] does. A name or a symbolic link that leads out of the folder is an error.
func OpenBelow(folder, name string) (*os.File, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // it was only read
	info, err := root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = irregular(name, info)
	}
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return onlyRegular(f)
}

// Read reads a regular file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f, limit)
}

// ReadText is [Read] for text that people write: without the byte order mark that Windows puts before it. UTF-16 is an error.
func ReadText(path string, limit int64) ([]byte, error) {
	content, err := Read(path, limit)
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		return nil, fmt.Errorf("%s is UTF-16 text: save it as UTF-8", path)
	}
	return bytes.TrimPrefix(content, []byte("\ufeff")), err
}

// ReadAll reads what is left of a file, at most limit bytes.
func ReadAll(f *os.File, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", f.Name(), limit)
	}
	return content, nil
}
