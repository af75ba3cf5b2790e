package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// files are the absolute paths of what a config is made of, whether it could be read or not.
type files map[string]struct{}

// add takes the absolute path of a file in, and returns it.
func (f files) add(path string) string {
	path = absolute(path)
	if f != nil {
		f[path] = struct{}{}
	}
	return path
}

func (f files) sorted() []string { return slices.Sorted(maps.Keys(f)) }

// absolute leaves ".." where it is: what that means behind a symlink is for the file system to say.
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
