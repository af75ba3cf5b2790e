package tagfilter

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

const (
	maxPattern = 1 << 10 // the longest entry of include or exclude, in bytes
	// maxSteps limits the size of an expanded entry, and so the worst time per character of a tag. A glob of maxPattern bytes stays below it.
	maxSteps = 4096
)

// isLiteral reports whether an entry is meant to be one tag, valid or not.
func isLiteral(entry string) bool {
	return entry != "" && entry[0] != '/' && !strings.ContainsAny(entry, "*?[]{}")
}

// set is a compiled list of entries.
type set struct {
	literals []string // sorted and unique after sort
	patterns patterns
}

func (s *set) add(entry string, known *Compiler) error {
	switch {
	case entry == "":
		return errors.New(`is empty; remove it, or write "*" to mean every tag`)
	case len(entry) > maxPattern:
		return fmt.Errorf("%s has %d bytes, more than %d; split it into several entries", quote(entry), len(entry), maxPattern)
	case isLiteral(entry):
		if err := checkLiteral(entry); err != nil {
			return fmt.Errorf("%s %w", quote(entry), err)
		}
		s.literals = append(s.literals, entry)
		return nil
	case strings.Trim(entry, "*") == "":
		s.patterns.every = true
		return nil
	}
	expression, err := known.expression(entry)
	if err != nil {
		return fmt.Errorf("%s %w", quote(entry), err)
	}
	s.patterns.expressions = append(s.patterns.expressions, expression)
	return nil
}

func (s *set) sort() {
	slices.Sort(s.literals)
	s.literals = slices.Compact(s.literals)
}

func (s *set) matches(tag string) bool {
	_, found := slices.BinarySearch(s.literals, tag)
	return found || s.patterns.match(tag)
}

// patterns are the entries of a list that are not literals.
type patterns struct {
	every       bool // "*" is among them
	expressions []*regexp.Regexp
}

func (p patterns) none() bool { return !p.every && len(p.expressions) == 0 }

// match requires a valid tag: the expressions translated from globs rely on it.
func (p patterns) match(tag string) bool {
	return p.every || slices.ContainsFunc(p.expressions, func(e *regexp.Regexp) bool { return e.MatchString(tag) })
}

func checkLiteral(entry string) error {
	for _, r := range entry {
		if err := checkRune(r); err != nil {
			return err
		}
	}
	if err := checkStart(entry); err != nil {
		return err
	}
	if len(entry) > maxTag {
		return fmt.Errorf("has %d characters and a tag has %d at most; shorten it", len(entry), maxTag)
	}
	return nil
}

func (k *Compiler) expression(entry string) (*regexp.Regexp, error) {
	if compiled, ok := k.expressions[entry]; ok {
		return compiled, nil
	}
	compiled, err := expression(entry)
	if err == nil {
		if k.expressions == nil {
			k.expressions = map[string]*regexp.Regexp{}
		}
		k.expressions[entry] = compiled
	}
	return compiled, err
}

// expression compiles an entry that is a glob or a /RE2/.
func expression(entry string) (*regexp.Regexp, error) {
	if entry[0] == '/' {
		return compileRE2(entry)
	}
	re2, err := globToRE2(entry)
	if err != nil {
		return nil, err
	}
	return anchored(re2)
}

func compileRE2(entry string) (*regexp.Regexp, error) {
	inner, ok := strings.CutSuffix(entry[1:], "/")
	if !ok {
		return nil, errors.New(`starts with "/" but does not end in it; write /expression/ for a regular expression, or a tag without a repository`)
	}
	if inner == "" {
		return nil, errors.New(`is an empty expression; write "*" to mean every tag`)
	}
	return anchored(inner)
}

// anchored compiles an expression so that it matches complete tags. The expression must be valid by itself: a)|(b would be valid only within
// parentheses.
func anchored(re2 string) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse(re2, syntax.Perl)
	if err != nil {
		if e, ok := errors.AsType[*syntax.Error](err); ok && e.Code == syntax.ErrInvalidRepeatSize {
			return nil, fmt.Errorf("repeats more than 1000 times (at %s); write * or + for a long repetition, as a tag has %d characters at most", quote(e.Expr), maxTag)
		}
		return nil, fmt.Errorf("is not an expression in RE2 syntax, which has neither look-around nor back references: %w", err)
	}
	if steps(parsed) > maxSteps {
		return nil, fmt.Errorf("expands to more than %d steps; use shorter repetitions, or split it into several entries", maxSteps)
	}
	compiled, err := regexp.Compile(`\A(?:` + re2 + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("is not an expression that can stand for whole tags: %w", err)
	}
	return compiled, nil
}

// steps estimates the size of an expression's compiled program, in which repetitions are expanded, without allocating it. Above maxSteps the
// result is not exact.
func steps(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n = min(n+steps(sub), maxSteps+1)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min+1, re.Max)
	}
	return min(n, maxSteps+1)
}
