package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrOutside says that a symbolic link leads out of a folder.
var ErrOutside = errors.New("a symbolic link leads out of the folder")

// Within reports whether a path is that of a folder, or below it.
func Within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, string(filepath.Separator))+string(filepath.Separator))
}

// RealBelow returns the path of what has a name below a folder, without symbolic links. It does not look at anything outside of the folder, since
// that may be a file system that does not answer: if a link leads there, the error is [ErrOutside].
func RealBelow(folder, name string) (string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	root, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return "", err
	}
	real, rest := root, elements(name)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(real, rest[0])
		rest = rest[1:]
		if Within(root, next) { // the folder itself or above it, where the path has no links
			real = next
			continue
		}
		if !Within(next, root) {
			return "", ErrOutside
		}
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			real = next
			continue
		}
		to, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "readlink", Path: next, Err: syscall.ELOOP}
		}
		if Within(to, folder) {
			real, to = root, to[len(folder):]
		} else if filepath.IsAbs(to) {
			real = filepath.VolumeName(to) + string(filepath.Separator)
			to = to[len(filepath.VolumeName(to)):]
		}
		rest = append(elements(to), rest...)
	}
	if !Within(real, root) {
		return "", ErrOutside
	}
	return real, nil
}

// elements splits a path, and keeps its "..".
func elements(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) })
}
