package tagfilter

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxNesting limits the nesting of braces.
const maxNesting = 16

// globToRE2 translates a glob into an expression that matches the same valid tags.
func globToRE2(text string) (string, error) {
	if err := checkStart(text); err != nil {
		return "", err
	}
	g := glob{rest: text}
	for g.rest != "" {
		if err := g.step(); err != nil {
			return "", err
		}
	}
	if g.depth > 0 {
		return "", errors.New(`has a "{" without its "}"; write {a,b} to mean a or b`)
	}
	return g.re2.String(), nil
}

// glob is the state of a translation.
type glob struct {
	rest  string
	re2   strings.Builder
	depth int // of open braces
}

// step translates the next item of the glob.
func (g *glob) step() error {
	switch c := g.rest[0]; {
	case c == '*':
		g.rest = strings.TrimLeft(g.rest, "*")
		g.re2.WriteString(`.*`)
		return nil
	case c == '?':
		g.replace(`.`)
		return nil
	case c == '[':
		return g.class()
	case c == '{':
		return g.open()
	case c == '}' && g.depth > 0:
		g.depth--
		g.replace(`)`)
		return nil
	case c == ',' && g.depth > 0:
		g.replace(`|`)
		return nil
	}
	r, size := utf8.DecodeRuneInString(g.rest)
	if err := checkRune(r); err != nil {
		return err
	}
	g.re2.WriteString(regexp.QuoteMeta(g.rest[:size]))
	g.rest = g.rest[size:]
	return nil
}

// replace translates one byte.
func (g *glob) replace(re2 string) {
	g.re2.WriteString(re2)
	g.rest = g.rest[1:]
}

func (g *glob) open() error {
	if strings.HasPrefix(g.rest, "{}") {
		return errors.New(`has empty braces; write {a,b} to mean a or b`)
	}
	if g.depth == maxNesting {
		return fmt.Errorf("has more than %d braces within one another; split it into several entries", maxNesting)
	}
	g.depth++
	g.replace(`(?:`)
	return nil
}

// class translates a character class, [a-z] or [!a-z].
func (g *glob) class() error {
	inner, rest, ok := strings.Cut(g.rest[1:], "]")
	if !ok {
		return errors.New(`has a "[" without its "]"; write [a-z] to mean one character of these`)
	}
	inner, not := strings.CutPrefix(inner, "!")
	if inner == "" {
		return errors.New(`has empty brackets; write [a-z] to mean one character of these, and ? to mean any one`)
	}
	if inner[0] == '^' {
		return errors.New(`has a "^" in brackets; write [!a-z] to mean one character that is none of these`)
	}
	for _, r := range inner {
		if err := checkRune(r); err != nil {
			return err
		}
	}
	g.re2.WriteString(`[`)
	if not {
		g.re2.WriteString(`^`)
	}
	if err := g.members(inner); err != nil {
		return err
	}
	g.re2.WriteString(`]`)
	g.rest = rest
	return nil
}

// members translates the content of brackets; a hyphen at either end is literal.
func (g *glob) members(inner string) error {
	for inner != "" {
		low, high, size := inner[0], inner[0], 1
		if len(inner) > 2 && inner[1] == '-' {
			high, size = inner[2], 3
		}
		if high < low {
			return fmt.Errorf("has the range %s, which runs backwards; write %c-%c", inner[:size], high, low)
		}
		fmt.Fprintf(&g.re2, `\x%02x-\x%02x`, low, high)
		inner = inner[size:]
	}
	return nil
}

// checkStart refuses an entry that starts with a character that no tag starts with.
func checkStart(entry string) error {
	if canStart(entry[0]) {
		return nil
	}
	return fmt.Errorf("starts with %q, and no tag does; write %s to allow any prefix", entry[0], quote("*"+entry))
}

// checkRune refuses a character that can never be in a tag, and suggests a fix.
func checkRune(r rune) error {
	if r < utf8.RuneSelf && isTagByte(byte(r)) {
		return nil
	}
	const never = "contains %q, which cannot be in a tag; "
	switch r {
	case '/', ':', '@':
		return fmt.Errorf(never+"write the tag alone, without its repository or digest", r)
	case ',', ' ':
		return fmt.Errorf(never+"remove it, or write one entry for each tag", r)
	case '!':
		return fmt.Errorf(never+"put what you do not want into exclude, and write [!a-z] to mean one character that is none of these", r)
	case ']', '}':
		return fmt.Errorf(never+"it closes nothing here: write [a-z] or {a,b}, or remove it", r)
	case '^', '$', '|', '(', ')', '+', '\\':
		return fmt.Errorf(never+"write /expression/ for a regular expression", r)
	}
	return fmt.Errorf(never+"use letters, digits, '.', '_' and '-'", r)
}
