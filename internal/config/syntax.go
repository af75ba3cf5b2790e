package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxMarks is how many values a config file can have, roughly, before the YAML parser takes hundreds of MiB for them.
const maxMarks = 1_000_000

// checkText refuses text that YAML does not allow, which the YAML parser reports without a position, and text that is too large.
func checkText(name string, data []byte) *Error {
	if len(data) > MaxFile {
		return &Error{Pos: Position{File: name, Line: 1, Col: 1}, Err: fmt.Errorf("the file is larger than %d MiB", MaxFile>>20), Hint: "is it a config file?"}
	}
	pos := Position{File: name, Line: 1, Col: 1}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if marks(data) > maxMarks {
		return &Error{Pos: pos, Err: fmt.Errorf("the file has more than %d lines and values", maxMarks), Hint: "is it a config file?"}
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size <= 1:
			return &Error{Pos: pos, Err: fmt.Errorf("the byte 0x%02x is not UTF-8 text", data[i]), Hint: "save the file as UTF-8"}
		case !allowed(r):
			return &Error{Pos: pos, Err: fmt.Errorf("the character %U cannot be in a config file", r), Hint: "is it a text file?"}
		}
		if r == '\n' {
			pos.Line, pos.Col = pos.Line+1, 0
		}
		pos.Col++
		i += size
	}
	return nil
}

// marks counts the characters that separate values in YAML. Apart from a few, there are never more values than that.
func marks(data []byte) int {
	n := 0
	for i, c := range data {
		switch c {
		case '\n', '\r', ',', ':', '[', '{':
			n++
		case ' ', '\t':
			if i > 0 && (data[i-1] == '-' || data[i-1] == '?') {
				n++
			}
		}
	}
	return n
}

// allowed are the printable characters of YAML 1.2, section 5.1.
func allowed(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r', r == 0x85, 0x20 <= r && r <= 0x7e, 0xa0 <= r && r <= 0xd7ff:
		return true
	}
	return 0xe000 <= r && r <= 0xfffd && r != '\ufeff' || 0x10000 <= r
}

var (
	yamlLine = regexp.MustCompile(`^line (\d+): `)
	// yamlGrammar matches the messages of the parser itself; all others are the scanner's.
	yamlGrammar = regexp.MustCompile(`^did not find expected (?:',' or|key|'-'|node content|<)`)
	yamlAnchor  = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
)

// syntaxError returns the position in the YAML parser's message, and explains the message.
func syntaxError(name string, data []byte, err error) *Error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	pos := Position{File: name, Line: 1, Col: 1}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		pos.Line, _ = strconv.Atoi(m[1])
		if yamlGrammar.MatchString(text) {
			pos.Line++ // yaml.v3 counts from 0 in these
		}
	}
	lines := bytes.Split(data, []byte("\n"))
	pos.Line = min(max(pos.Line, 1), len(lines))
	line := string(lines[pos.Line-1])
	if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		return &Error{Pos: find(pos, lines, "*"+m[1]), Err: fmt.Errorf("the alias *%s has no anchor", clip(m[1])), Hint: "an anchor &" + clip(m[1]) + " must stand before it, and a text that starts with * needs quotes"}
	}
	pos.Col = 1 + utf8.RuneCountInString(line) - utf8.RuneCountInString(strings.TrimLeft(line, " \t"))
	return &Error{Pos: pos, Err: errors.New("is not valid YAML, here or just before: " + clip(text)), Hint: syntaxHint(text, line)}
}

// find returns the first position of a word.
func find(pos Position, lines [][]byte, word string) Position {
	for i, line := range lines {
		if j := bytes.Index(line, []byte(word)); j >= 0 {
			return Position{File: pos.File, Line: i + 1, Col: 1 + utf8.RuneCount(line[:j])}
		}
	}
	return pos
}

// syntaxHint guesses the cause of common messages.
func syntaxHint(text, line string) string {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	switch {
	case strings.Contains(indent, "\t"):
		return "indent with spaces, as a tab is no indentation in YAML"
	case strings.Contains(line, "${"):
		return `a ${…} within braces or brackets needs quotes: "${env:NAME}"`
	case strings.Contains(text, "mapping values are not allowed"):
		return "check the indentation, and put a text with \": \" into quotes"
	case strings.Contains(text, "cannot start any token"):
		return "put a text that starts with @, ` or % into quotes"
	case strings.Contains(text, "unexpected end of stream"):
		return "is a quote closed?"
	case strings.Contains(text, "did not find expected ',' or"):
		return "is a bracket or brace closed, and each entry set off by a comma?"
	case strings.Contains(text, "did not find expected"):
		return "check the indentation, and put a text that starts with *, &, !, [, { or a quote into quotes as a whole"
	}
	return ""
}

// maxAliased limits the nodes that aliases may add to a file.
const maxAliased = 100_000

// checkAliases refuses aliases that expand to too many nodes, or that contain themselves.
func checkAliases(name string, root *yaml.Node) *Error {
	s := sizes{name: name, known: map[*yaml.Node]int{}}
	plain := s.of(root, false)
	if total := s.of(root, true); s.err == nil && total-plain > maxAliased {
		s.fail(s.largest, fmt.Errorf("the aliases in this file stand for more than %d values", maxAliased), "write out what is meant")
	}
	return s.err
}

// sizes counts the nodes below a node, with the aliases followed or not.
type sizes struct {
	name  string
	known map[*yaml.Node]int // sizes of aliased nodes; -1 while being counted
	// largest is the alias of the most nodes, the first of several.
	largest *yaml.Node
	err     *Error
}

func (s *sizes) of(n *yaml.Node, follow bool) int {
	if n.Kind == yaml.AliasNode {
		if !follow || s.err != nil {
			return 1
		}
		return s.alias(n)
	}
	if follow && n.Anchor != "" {
		if size, ok := s.known[n]; ok && size >= 0 {
			return size
		}
		s.known[n] = -1
	}
	size := 1
	for _, c := range n.Content {
		size = min(size+s.of(c, follow), 1<<30)
	}
	if follow && n.Anchor != "" {
		s.known[n] = size
	}
	return size
}

func (s *sizes) alias(n *yaml.Node) int {
	size, ok := s.known[n.Alias]
	switch {
	case ok && size < 0:
		s.fail(n, fmt.Errorf("the alias *%s contains itself", clip(n.Value)), "")
		return 1
	case !ok:
		size = s.of(n.Alias, true)
	}
	if s.largest == nil || size > s.known[s.largest.Alias] {
		s.largest = n
	}
	return size
}

func (s *sizes) fail(n *yaml.Node, err error, hint string) {
	s.err = &Error{Pos: Position{File: s.name, Line: n.Line, Col: n.Column}, Err: err, Hint: hint}
}
