package tagfilter

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Spec is the section `tags` of a config file. The package documentation explains it.
type Spec struct {
	Include []string `json:"include,omitempty"` // literals, globs and /RE2/ expressions; empty means "*" if Semver, Suffix or Newest is set
	Exclude []string `json:"exclude,omitempty"` // as Include; removes literals too
	Semver  string   `json:"semver,omitempty"`  // a range in Masterminds syntax; "" for any version
	Suffix  string   `json:"suffix,omitempty"`  // the end of a tag after its version; "" for none
	Newest  int      `json:"newest,omitempty"`  // how many of the tags that patterns match to keep; 0 for all
	Sort    string   `json:"sort,omitempty"`    // the order for newest: semver, date or numeric; "" for semver
	Min     *int     `json:"min,omitempty"`     // the minimum number of tags; nil for 1
}

// Compile compiles the spec. The error joins all mistakes, each an *Error, in the order of the fields of Spec. The filter does not keep the
// spec's slices.
func Compile(spec Spec) (Filter, error) { return new(Compiler).Compile(spec) }

// Compiler compiles many specs, which share equal patterns and ranges. The zero value is ready. A Compiler is not safe for concurrent use;
// the filters are.
type Compiler struct {
	expressions map[string]*regexp.Regexp
	ranges      map[string]*semver.Constraints
}

// Compile is like the function [Compile].
func (k *Compiler) Compile(spec Spec) (Filter, error) {
	c := compiler{known: k}
	include := c.set("include", withDefault(spec))
	c.checkInclude(spec)
	exclude := c.set("exclude", spec.Exclude)
	versions := c.constraints(spec.Semver)
	c.checkSuffix(spec.Suffix)
	c.checkNewest(spec)
	if len(c.mistakes) > 0 {
		return Filter{}, errors.Join(c.mistakes...)
	}
	var named []string
	for _, tag := range include.literals {
		if !exclude.matches(tag) {
			named = append(named, tag)
		}
	}
	least := 1
	if spec.Min != nil {
		least = *spec.Min
	}
	return Filter{sets: []chooser{{
		spec:    spec.Identity(),
		named:   named,
		include: include.patterns,
		exclude: exclude,
		narrow:  narrowing{suffix: spec.Suffix, versions: versions, newest: spec.Newest, scheme: schemeOf(spec.Sort)},
		min:     least,
		text:    describe(spec),
		pieces:  pieces(withDefault(spec)),
	}}}, nil
}

// Identity returns a text that is equal for two specs only if they are equal, including the order of entries. It does not change between
// versions of the program, so it can be stored. JSON turns invalid UTF-8 into U+FFFD, but no tag contains either.
func (s Spec) Identity() string {
	s.Include = withDefault(s)
	if s.Sort == sortSemver {
		s.Sort = ""
	}
	if s.Min != nil && *s.Min == 1 {
		s.Min = nil
	}
	text, _ := json.Marshal(s) // cannot fail for these types
	return string(text)
}

// narrows reports whether the spec has a condition that applies only to patterns.
func (s Spec) narrows() bool { return s.Semver != "" || s.Suffix != "" || s.Newest != 0 }

// onlyLiterals reports whether include has entries and all are meant to be single tags.
func (s Spec) onlyLiterals() bool {
	for _, entry := range s.Include {
		if !isLiteral(entry) {
			return false
		}
	}
	return len(s.Include) > 0
}

// literals are the entries of include that name one tag each.
func (s Spec) literals() []string {
	return slices.DeleteFunc(slices.Clone(s.Include), func(entry string) bool { return !isLiteral(entry) })
}

// withDefault returns the entries of include, or "*" if it is omitted because a condition narrows the tags.
func withDefault(spec Spec) []string {
	if len(spec.Include) == 0 && spec.narrows() {
		return []string{"*"}
	}
	return spec.Include
}

// compiler collects mistakes, so that all are reported at once.
type compiler struct {
	known    *Compiler
	mistakes []error
}

func (c *compiler) add(field string, index int, err error) {
	c.mistakes = append(c.mistakes, &Error{Field: field, Index: index, Err: err})
}

func (c *compiler) set(field string, entries []string) set {
	var s set
	for i, entry := range entries {
		if err := s.add(entry, c.known); err != nil {
			c.add(field, i, err)
		}
	}
	s.sort()
	return s
}

func (c *compiler) checkInclude(spec Spec) {
	switch {
	case len(spec.Include) > 0 || spec.narrows():
	case len(spec.Exclude) > 0:
		c.add("include", -1, errors.New(`is empty, so exclude has nothing to remove from; write ["*"] to mean every tag but the excluded ones`))
	default:
		c.add("include", -1, errors.New(`selects nothing, because it is empty; write ["*"] to mean every tag`))
	}
	if !spec.onlyLiterals() {
		return
	}
	for _, field := range spec.narrowedBy() {
		c.add(field, -1, errors.New(`has nothing to narrow, as include only names single tags; add a pattern such as "*" to include, or remove `+field))
	}
}

// narrowedBy lists the set fields that apply only to patterns.
func (s Spec) narrowedBy() []string {
	var fields []string
	if s.Semver != "" {
		fields = append(fields, "semver")
	}
	if s.Suffix != "" {
		fields = append(fields, "suffix")
	}
	if s.Newest != 0 {
		fields = append(fields, "newest")
	}
	return fields
}

// fourNumbers matches a version that has more numbers than semantic versions have.
var fourNumbers = regexp.MustCompile(`\d+(\.\d+){3}`)

// constraints parses a range. The result is nil for none.
func (c *compiler) constraints(text string) *semver.Constraints {
	if text == "" {
		return nil
	}
	versions, err := c.known.versions(text)
	if errors.Is(err, semver.ErrConstraintTooLong) || errors.Is(err, semver.ErrTooManyConstraintGroups) {
		c.add("semver", -1, fmt.Errorf("%s is too large a range: %w; shorten it", quote(text), err))
		return nil
	}
	if err != nil && fourNumbers.MatchString(text) {
		c.add("semver", -1, fmt.Errorf("%s has a version of four numbers, and semantic versions have three; select such tags by include, as in \"1.2.3.*\"", quote(text)))
		return nil
	}
	if err != nil {
		// The library's own text just repeats the range, however long.
		c.add("semver", -1, fmt.Errorf(`%s is not a version range; write one such as ">= 3.19", "~1.4", "1.x" or ">= 2, < 4 || 6.x"`, quote(text)))
		return nil
	}
	return versions
}

func (k *Compiler) versions(text string) (*semver.Constraints, error) {
	if versions, ok := k.ranges[text]; ok {
		return versions, nil
	}
	versions, err := semver.NewConstraint(text)
	if err == nil {
		if k.ranges == nil {
			k.ranges = map[string]*semver.Constraints{}
		}
		k.ranges[text] = versions
	}
	return versions, err
}

func (c *compiler) checkSuffix(suffix string) {
	if strings.ContainsAny(suffix, "*?[]{}") {
		c.add("suffix", -1, fmt.Errorf("%s is a pattern; write the ending itself, such as -alpine, and put patterns into include", quote(suffix)))
		return
	}
	for _, r := range suffix {
		if r >= 0x80 || !isTagByte(byte(r)) {
			c.add("suffix", -1, fmt.Errorf("%s: %q cannot be in a tag; use letters, digits, '.', '_' and '-', as in -alpine", quote(suffix), r))
			return
		}
	}
	if len(suffix) >= maxTag {
		c.add("suffix", -1, fmt.Errorf("%s has %d characters and leaves no room for a version, as a tag has %d at most; shorten it", quote(suffix), len(suffix), maxTag))
	}
}

func (c *compiler) checkNewest(spec Spec) {
	if spec.Newest < 0 {
		c.add("newest", -1, fmt.Errorf("%d is negative; write how many tags to keep, or leave it out to keep all", spec.Newest))
	}
	switch {
	case !slices.Contains([]string{"", sortSemver, sortDate, sortNumeric}, spec.Sort):
		c.add("sort", -1, fmt.Errorf("%s is not one of %s, %s, %s", quote(spec.Sort), sortSemver, sortDate, sortNumeric))
	case spec.Sort != "" && spec.Newest == 0:
		c.add("sort", -1, errors.New("is the order for newest; add newest, or remove it"))
	}
	switch {
	case spec.Min == nil:
	case *spec.Min < 0:
		c.add("min", -1, fmt.Errorf("%d is negative; write the minimum number of tags, or 0 to allow none", *spec.Min))
	case spec.Newest > 0 && *spec.Min > spec.Newest+len(spec.literals()):
		c.add("min", -1, fmt.Errorf("%d tags are impossible, since newest keeps only %d; make min smaller, or newest larger", *spec.Min, spec.Newest))
	}
}
