package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes a file with a mode, where its file system has modes. One that was there is replaced when all is written, and stays if that
// fails.
func Replace(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	_, err = f.Write(data)
	if err = errors.Join(err, SetMode(f, mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// SetMode sets the mode of a file. A file system that refuses, as FAT and exFAT do, has other means of saying who may read a file; there the file
// keeps the mode that it has.
func SetMode(f *os.File, mode fs.FileMode) error {
	err := f.Chmod(mode)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err //nolint:wrapcheck // it names the file
}

// SyncDir makes a rename in a folder durable. Some file systems report that they cannot sync a folder; nothing can be done about that.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err //nolint:wrapcheck // it names the folder
	}
	_ = d.Sync() // see above
	return d.Close()
}
