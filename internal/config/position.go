package config

import (
	"cmp"
	"fmt"
)

// Position is a place in a config file. Line and Col count from 1, Col in characters; both are 0 for the file as a whole.
type Position struct {
	File string
	Line int
	Col  int
}

// String returns file:line:col, which editors and terminals turn into a link.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

func (p Position) compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// From names the position in a message about a place in the given file: "line 4", or "line 4 of conf.d/a.yaml".
func (p Position) From(file string) string {
	if p.File == file {
		return fmt.Sprintf("line %d", p.Line)
	}
	return fmt.Sprintf("line %d of %s", p.Line, p.File)
}
