// Package lazyregexp has regular expressions that are compiled when they are first used. Those with large repeat counts, as {1,256}, take up to
// 400 kB each, and most runs need none of them.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New returns a function that returns the compiled expression. It panics as [regexp.MustCompile] does, on its first call.
func New(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
