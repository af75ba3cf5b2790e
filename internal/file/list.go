package file

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// MaxList is how many files one pattern may match.
const MaxList = 256

// ErrTooMany says that a pattern matches more than MaxList files.
var ErrTooMany = errors.New("it matches more than 256 files")

// List returns the files that a pattern matches, of whatever kind, sorted. Only the last part of the pattern is one, in the syntax of
// [filepath.Match]; a name that begins with a dot is matched only by a pattern that does. No match is no error, but a folder that cannot be
// read is.
func List(pattern string) ([]string, error) {
	dir, base := filepath.Split(pattern)
	f, err := os.Open(dir + ".") // of a pipe that is an error, and no wait
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var paths []string
	for {
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			matches, err := filepath.Match(base, name)
			if err != nil {
				return nil, err
			}
			if matches && (!strings.HasPrefix(name, ".") || strings.HasPrefix(base, ".")) {
				paths = append(paths, dir+name)
			}
		}
		switch {
		case len(paths) > MaxList:
			return nil, ErrTooMany
		case errors.Is(err, io.EOF):
			slices.Sort(paths)
			return paths, nil
		case err != nil:
			return nil, err
		}
	}
}
