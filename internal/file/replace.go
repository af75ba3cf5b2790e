package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes a file with a mode. One that was there is replaced when all is written, and stays if that fails.
func Replace(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
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
