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

// Spec is what a config file says under `tags`. The package documentation says what it means.
type Spec struct {
	Include []string `json:"include,omitempty"` // literals, globs and /RE2/ expressions; empty means "*" where Semver, Suffix or Newest is set
	Exclude []string `json:"exclude,omitempty"` // as Include; removes literals too
	Semver  string   `json:"semver,omitempty"`  // a range in Masterminds syntax; "" for any version
	Suffix  string   `json:"suffix,omitempty"`  // what a tag ends in after its version; "" for none
	Newest  int      `json:"newest,omitempty"`  // how many tags to keep of those that patterns match; 0 for all
	Sort    string   `json:"sort,omitempty"`    // what newest goes by: semver, date or numeric; "" for semver
	Min     *int     `json:"min,omitempty"`     // how many tags there have to be; nil for 1
}

// Compile checks the spec and makes it ready for use. The error joins every mistake, each an *Error, in the order of the
// fields of Spec. The filter keeps nothing of the spec's slices.
func Compile(spec Spec) (Filter, error) { return new(Compiler).Compile(spec) }

// Compiler compiles many specs, of which those with a pattern or a range in common share it. The zero value is ready. It is not for
// several goroutines at once; the filters are.
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

// Identity returns a text that two specs have in common only if both say the same, in the same order of entries. It stays what it is
// from one version of the program to the next, so that it can be kept. JSON takes what is no UTF-8 as U+FFFD, and no tag has either.
func (s Spec) Identity() string {
	s.Include = withDefault(s)
	if s.Sort == sortSemver {
		s.Sort = ""
	}
	if s.Min != nil && *s.Min == 1 {
		s.Min = nil
	}
	text, _ := json.Marshal(s) // nothing in it can fail
	return string(text)
}

// narrows tells whether the spec says anything that only patterns can obey.
func (s Spec) narrows() bool { return s.Semver != "" || s.Suffix != "" || s.Newest != 0 }

// onlyLiterals tells whether every entry of include, and at least one, is meant to be one tag.
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

// withDefault returns the entries of include, which may be left out beside what narrows it.
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

// narrowedBy lists the fields that are set and obeyed by patterns only.
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

// constraints reads a range. It is nil for none.
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
		// The library's own text repeats the range, however long, and says nothing more.
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
		c.add("sort", -1, errors.New("is the order that newest goes by; add newest, or remove it"))
	}
	switch {
	case spec.Min == nil:
	case *spec.Min < 0:
		c.add("min", -1, fmt.Errorf("%d is negative; write how many tags there have to be, 0 to allow none", *spec.Min))
	case spec.Newest > 0 && *spec.Min > spec.Newest+len(spec.literals()):
		c.add("min", -1, fmt.Errorf("%d tags can never be there, as newest keeps %d; make min smaller, or newest larger", *spec.Min, spec.Newest))
	}
}
