package layout

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

// lostFound is the folder that fsck keeps in the root of a file system, which only root may read.
const lostFound = "lost+found"

// Below returns the paths of the layouts below the directory of prefix, sorted. Symbolic links to folders are followed, as by whoever opens a layout by
// its path; what is behind a link is walked once only, so that links may lead in a circle. With an error, which names a place that cannot be read, it
// returns those elsewhere.
func (s *Store) Below(prefix image.Repository) ([]string, error) {
	return (&below{resolve: resolve}).layouts(prefix.Path)
}

// Inside is as Below, but follows no link that leads out of the directory, and does not look at what is behind it.
func (s *Store) Inside(prefix image.Repository) ([]string, error) {
	return (&below{resolve: func(link string) (string, error) {
		name, err := filepath.Rel(prefix.Path, link)
		if err != nil {
			return "", err //nolint:wrapcheck // it names the link
		}
		return file.RealBelow(prefix.Path, name)
	}}).layouts(prefix.Path)
}

// resolve returns the path to which a link leads.
func resolve(link string) (string, error) {
	if _, err := os.Stat(link); err != nil {
		return "", err //nolint:wrapcheck // it names the link
	}
	abs, err := filepath.Abs(link)
	if err != nil {
		return "", err //nolint:wrapcheck // the working directory is gone
	}
	return filepath.EvalSymlinks(abs)
}

// below is a walk over the layouts below a folder.
type below struct {
	resolve func(link string) (string, error)
	// root is the folder, and real its path without links.
	root, real string
	// followed are folders behind links, by their real paths.
	followed map[string]bool
	found    []string
}

func (b *below) layouts(path string) ([]string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // the working directory is gone
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return nil, absentIfMissing(err)
	}
	b.root, b.real, b.followed = filepath.Clean(path), real, map[string]bool{}
	err = b.walk(b.root)
	slices.Sort(b.found)
	return b.found, absentIfMissing(err)
}

// walk walks all that it can. It returns the first error.
func (b *below) walk(dir string) error {
	entries, first := readFolder(dir)
	if dir != b.root && errors.Is(first, fs.ErrNotExist) {
		return nil // gone since it was listed
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var err error
		switch {
		case e.Name() == layoutFile && dir != b.root:
			b.found = append(b.found, dir)
		case e.Name() == blobsDir, e.Name() == tempDir, e.Name() == lostFound:
		case e.IsDir():
			err = b.walk(path)
		case e.Type()&fs.ModeSymlink != 0:
			err = b.follow(path)
		}
		if first == nil {
			first = err
		}
	}
	return first //nolint:wrapcheck // it names the folder
}

// follow goes on behind a link. Of what is walked anyway, and what has that in it, it only takes the folder itself, under this name too.
func (b *below) follow(link string) error {
	real, err := b.resolve(link)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, file.ErrOutside):
		return nil // it leads nowhere
	case err != nil:
		return err
	}
	if info, err := os.Stat(real); err != nil || !info.IsDir() {
		return nil //nolint:nilerr // it leads to no folder
	}
	if !b.followed[real] && !file.Within(real, b.real) && !file.Within(b.real, real) {
		b.followed[real] = true
		return b.walk(link)
	}
	if _, err := os.Stat(filepath.Join(link, layoutFile)); err == nil {
		b.found = append(b.found, link)
	}
	return nil
}
