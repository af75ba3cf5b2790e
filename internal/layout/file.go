package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/draysync/dray/internal/file"
)

// readBounded reads a file that has no more bytes than a manifest may.
func readBounded(path string) ([]byte, error) {
	raw, err := file.Read(path, MaxManifest)
	return raw, absentIfMissing(err)
}

// writeFile writes a file of the layout dir, completely or not at all.
func writeFile(dir, path string, content []byte) error {
	return place(dir, path, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(content))
		return err
	})
}

// place lets write fill a temporary file of the layout dir, syncs it, and renames it to path.
func place(dir, path string, write func(io.Writer) error) (err error) {
	temps := filepath.Join(dir, tempDir)
	if err := errors.Join(os.MkdirAll(temps, 0o755), os.MkdirAll(filepath.Dir(path), 0o755)); err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	f, err := os.CreateTemp(temps, "*")
	if err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(f.Name())))
		}
	}()
	if err := errors.Join(write(f), f.Sync(), file.SetMode(f, 0o644), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	return file.SyncDir(filepath.Dir(path))
}

// readFolder lists a folder. What is none is an error, and a pipe no wait.
func readFolder(path string) ([]fs.DirEntry, error) { return os.ReadDir(path + "/.") }

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// until reads while ctx has not ended.
type until struct {
	ctx context.Context //nolint:containedctx // an io.Reader has no other way to get it
	io.Reader
}

// Read implements io.Reader.
func (r until) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
