package tagfilter

import "fmt"

// Error is one mistake in a Spec. Its text says what is wrong and how to fix it.
type Error struct {
	Field string // include, exclude, semver, suffix, newest, sort or min
	Index int    // the entry of the list, from 0; -1 if the mistake is not about one entry
	Err   error
}

// Error returns the message with its position, as in "include[2]: …".
func (e *Error) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("%s: %v", e.Field, e.Err)
	}
	return fmt.Sprintf("%s[%d]: %v", e.Field, e.Index, e.Err)
}

// Unwrap returns the mistake without its position, for a caller that has a better one, such as a line in a file.
func (e *Error) Unwrap() error { return e.Err }

// maxQuote limits the length of a quoted text in a message, in bytes.
const maxQuote = 80

// quote returns a text for use in a message: quoted, on one line, and short.
func quote(s string) string {
	if len(s) > maxQuote {
		return fmt.Sprintf("%q…", s[:maxQuote])
	}
	return fmt.Sprintf("%q", s)
}
