package file

import (
	"os"
	"path/filepath"
)

// DirNames gives each directory one name, even if it has several: by symbolic links, by ".." or through a bind mount. The zero value is
// ready for use.
type DirNames struct{ known []dirName }

type dirName struct {
	info os.FileInfo
	path string
}

// maxLinks limits the symbolic links followed to a missing path, as on Linux.
const maxLinks = 40

// Name returns the one name of an absolute path. A missing path is named by the directory in which it will be.
func (n *DirNames) Name(path string) string {
	dir, rest := filepath.Clean(path), ""
	for links := 0; ; {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(n.first(real), rest)
		}
		if to, err := os.Readlink(dir); err == nil && links < maxLinks {
			links++
			if !filepath.IsAbs(to) {
				to = filepath.Join(filepath.Dir(dir), to)
			}
			dir = to
			continue
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return filepath.Clean(path)
		}
		rest = filepath.Join(filepath.Base(dir), rest)
		dir = parent
	}
}

// first returns the first name under which a directory was seen.
func (n *DirNames) first(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return path
	}
	for _, one := range n.known {
		if os.SameFile(one.info, info) {
			return one.path
		}
	}
	n.known = append(n.known, dirName{info, path})
	return path
}
