package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/draysync/dray/internal/file"
)

// maxIncluded is the size limit of an included file, in bytes.
const maxIncluded = 1 << 20

// inclusion is an entry of include or of [Options.With], or a file that one matches.
type inclusion struct {
	// path is joined with the main file's folder, and text what the main file says; it is not set for what a pattern matches, and for With.
	path string
	text text
}

// unreadable returns the mistake that the file cannot be read.
func (i inclusion) unreadable(err error, isMain bool) *Error {
	switch {
	case isMain:
		return &Error{Pos: Position{File: i.path}, Err: unreadable(err), Hint: hintUnreadable(err)}
	case !i.text.set:
		return &Error{Pos: Position{File: i.path}, Err: unreadable(err)}
	}
	hint := ""
	if isFolder(err) {
		hint = "write " + filepath.Join(i.text.raw, "*.yaml") + " for the files in it"
	}
	return &Error{Pos: i.text.pos, Key: i.text.key, Err: fmt.Errorf("%s %w", quote(i.text.raw), unreadable(err)), Hint: hint}
}

// included returns the files that the main file includes, in order, each once.
func (a *attempt) included() []inclusion {
	entries := a.inclusions()
	for _, path := range a.opts.With {
		entries = append(entries, inclusion{path: path, text: text{origin: origin{pos: Position{File: path}}, raw: path}})
	}
	main := absolute(a.main.name)
	seen := map[string]string{main: ""} // with what the entry says
	var all []inclusion
	for _, e := range entries {
		if !isPattern(e.path) {
			path := absolute(e.path)
			switch first, again := seen[path]; {
			case !again:
				seen[path] = e.text.value
				all = append(all, e)
			case !e.text.set: // named twice on the command line, or also by include
			case a.main.stuck || first == e.text.value: // which the list has reported
			case path == main:
				a.main.fail(e.text.origin, fmt.Errorf("%s is this file itself", quote(e.text.raw)), "remove it")
			default:
				a.main.fail(e.text.origin, fmt.Errorf("%s is a file that another entry names", quote(e.text.raw)), "remove it")
			}
		}
	}
	for _, e := range entries {
		if isPattern(e.path) {
			for _, path := range a.match(e) {
				if _, again := seen[absolute(path)]; !again {
					seen[absolute(path)] = ""
					all = append(all, inclusion{path: path})
				}
			}
		}
	}
	if len(all) > file.MaxList {
		a.listing.fail(entries[0].text.origin, fmt.Errorf("%d files are included", len(all)), fmt.Sprintf("at most %d can be", file.MaxList))
		// Those that are new have to go.
		slices.SortStableFunc(all, func(x, y inclusion) int { return rankNew(a.good[x.path]) - rankNew(a.good[y.path]) })
		all = all[:file.MaxList]
	}
	return all
}

func rankNew(p *part) int {
	if p == nil {
		return 1
	}
	return 0
}

// inclusions returns the entries of include.
func (a *attempt) inclusions() []inclusion {
	s := a.main
	if s.stuck {
		return s.good.include
	}
	b := &builder{report: s.report, folder: folderOf(s.name)}
	for _, t := range s.doc.Include.items {
		if !t.set {
			continue
		}
		if err := checkInclusion(t.value); err != nil {
			b.invalid(t, err, "the path of a file, or a pattern")
			continue
		}
		s.next.include = append(s.next.include, inclusion{path: b.path(t), text: t})
	}
	return s.next.include
}

func isPattern(path string) bool { return strings.ContainsAny(filepath.Base(path), "*?[") }

func checkInclusion(path string) error {
	dir, base := filepath.Split(path)
	switch _, err := filepath.Match(base, ""); {
	case strings.ContainsAny(dir, "*?["):
		return fmt.Errorf("%s has a pattern in a folder's name: only the last part can be one", quote(path))
	case err != nil:
		return fmt.Errorf("%s is not a pattern: a [ has no ], or nothing in between", quote(path))
	case base == "" || base == "." || base == "..":
		return fmt.Errorf("%s is a folder: write the files in it, such as %s", quote(path), quote(filepath.Join(path, "*.yaml")))
	}
	return nil
}

// match returns what a pattern matches; where that cannot be read, what it matched before.
func (a *attempt) match(e inclusion) []string {
	pattern := absolute(e.path)
	a.globs = append(a.globs, pattern)
	paths, err := a.opts.List(pattern)
	switch {
	case errors.Is(err, file.ErrTooMany):
		a.listing.fail(e.text.origin, fmt.Errorf("%s cannot be followed: %w", quote(e.text.raw), err), "")
	case err != nil:
		a.listing.fail(e.text.origin, fmt.Errorf("the folder of %s %w", quote(e.text.raw), unreadable(err)), "")
	default:
		a.listed[pattern] = paths
	}
	all := make([]string, 0, len(a.listed[pattern]))
	for _, path := range a.listed[pattern] {
		all = append(all, filepath.Join(filepath.Dir(e.path), filepath.Base(path)))
	}
	return all
}

func folderOf(name string) string { return filepath.Dir(name) }

// isFolder reports whether a file cannot be read because it is a folder.
func isFolder(err error) bool {
	e, ok := errors.AsType[*fs.PathError](err)
	return ok && errors.Is(e.Err, syscall.EISDIR)
}
