package layout

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// lostFound is the folder that fsck keeps in the root of a file system, which only root may read.
const lostFound = "lost+found"

// Below returns the paths of the layouts below the directory of prefix, sorted. Symbolic links to folders are followed, as by whoever opens a layout by
// its path; what is behind a link is walked once only, so that links may lead in a circle.
func (s *Store) Below(prefix image.Repository) ([]string, error) {
	real, err := filepath.EvalSymlinks(prefix.Path)
	if err != nil {
		return nil, absentIfMissing(err)
	}
	b := &below{root: filepath.Clean(prefix.Path), real: real, followed: map[string]bool{}}
	err = b.walk(b.root)
	slices.Sort(b.found)
	return b.found, absentIfMissing(err)
}

// below is a walk over the layouts below a folder.
type below struct {
	// root is the folder, and real its path without links.
	root, real string
	// followed are folders behind links, by their real paths.
	followed map[string]bool
	found    []string
}

func (b *below) walk(dir string) error {
	entries, err := readFolder(dir)
	if dir != b.root && errors.Is(err, fs.ErrNotExist) {
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
		if err != nil {
			return err
		}
	}
	return err //nolint:wrapcheck // it names the folder
}

// within reports whether a path is that of a folder, or below it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, string(filepath.Separator))+string(filepath.Separator))
}

// follow goes on behind a link. Of what is walked anyway, and what has that in it, it only takes the folder itself, under this name too.
func (b *below) follow(link string) error {
	real, err := filepath.EvalSymlinks(link)
	if err != nil {
		return nil // it leads nowhere
	}
	if info, err := os.Stat(real); err != nil || !info.IsDir() {
		return nil //nolint:nilerr // it leads to no folder
	}
	if !b.followed[real] && !within(real, b.real) && !within(b.real, real) {
		b.followed[real] = true
		return b.walk(link)
	}
	if _, err := os.Stat(filepath.Join(link, layoutFile)); err == nil {
		b.found = append(b.found, link)
	}
	return nil
}
