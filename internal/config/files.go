package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// files are the absolute paths of a config's files, readable or not.
type files map[string]struct{}

// add adds a file, and returns its absolute path.
func (f files) add(path string) string {
	path = absolute(path)
	if f != nil {
		f[path] = struct{}{}
	}
	return path
}

func (f files) sorted() []string { return slices.Sorted(maps.Keys(f)) }

// absolute keeps "..", since only the file system knows its meaning after a symlink.
func absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if strings.Contains(path, "..") {
		return here + string(filepath.Separator) + path
	}
	return filepath.Join(here, path)
}
