package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxErrors limits the mistakes reported for one file; a file with more is not a config file.
const maxErrors = 200

// Error is one mistake in a config file. Its text never contains a value from a variable or another file.
type Error struct {
	Pos Position
	// Key is the path of the key, as in mappings[2].tags.semver; empty for the file as a whole.
	Key string
	Err error
	// Hint says how to fix the mistake, if Err does not.
	Hint string
}

// Error returns one line, as in `dray.yaml:14:5: mappings[2].platfroms: unknown key; did you mean "platforms"?`.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Pos.String())
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key)
		b.WriteString(": ")
	}
	b.WriteString(e.Err.Error())
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap returns the mistake without its position.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all mistakes of a file, in the order of the file, except that a wrong version comes first.
type Errors []*Error

// Error returns one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes, for errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// report collects mistakes. It ignores duplicates, such as a mistake in defaults that each mapping reports.
type report struct {
	errs    Errors
	seen    map[string]bool
	unsure  map[Position]bool // positions of texts with unknown values, for which mistakes are ignored
	dropped int               // mistakes beyond maxErrors, and entries that were not checked because of them
}

func (r *report) add(e *Error) {
	if r.full() {
		r.dropped++
		return
	}
	text := e.Error()
	if r.seen[text] || r.unsure[e.Pos] {
		return
	}
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	r.seen[text] = true
	r.errs = append(r.errs, e)
}

func (r *report) full() bool { return len(r.errs) == maxErrors }

// result returns the mistakes in order; nil for none.
func (r *report) result() Errors {
	slices.SortStableFunc(r.errs, func(a, b *Error) int {
		return cmp.Or(rank(a)-rank(b), a.Pos.compare(b.Pos), strings.Compare(a.Key, b.Key))
	})
	if r.dropped > 0 {
		last := r.errs[len(r.errs)-1].Pos
		r.errs = append(r.errs, &Error{Pos: last, Err: fmt.Errorf("there may be more mistakes than these %d", maxErrors)})
	}
	return r.errs
}

// errVersion marks a file of another version, whose other mistakes may not be mistakes there.
var errVersion = errors.New("this version of dray reads version 1")

func rank(e *Error) int {
	if errors.Is(e.Err, errVersion) {
		return 0
	}
	return 1
}
