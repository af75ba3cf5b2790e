package convert

import (
	"fmt"
	"strings"
)

// Error is a mistake in the file that is converted, or something about it that makes it impossible to go on.
type Error struct {
	File string
	Line int    // from 1; 0 where it is about the file as a whole
	Key  string // such as sync[2].source; may be empty
	Err  error
	Hint string // the way out; may be empty
}

// Error returns the message with its place and the way out.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(printable(e.File))
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		b.WriteString(": " + printable(e.Key))
	}
	b.WriteString(": " + e.Err.Error())
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause without its place.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all mistakes that were found, in the order of the file.
type Errors []*Error

// Error returns one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, mistake := range e {
		lines[i] = mistake.Error()
	}
	return strings.Join(lines, "\n")
}
