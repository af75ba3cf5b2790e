package convert

import (
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/tagfilter"
)

// tagSet is what a mapping says about tags.
type tagSet struct {
	include []string // none for every tag
	exclude []string
	semver  string
	newest  int
}

func (s tagSet) chosen() []string {
	if len(s.include) == 0 {
		return []string{"*"}
	}
	return s.include
}

func (s tagSet) spec() tagfilter.Spec {
	return tagfilter.Spec{Include: s.chosen(), Exclude: s.exclude, Semver: s.semver, Newest: s.newest}
}

// simple sets choose by include alone.
func (s tagSet) simple() bool { return len(s.exclude) == 0 && s.semver == "" && s.newest == 0 }

// named sets choose one tag by its name.
func (s tagSet) named() bool { return s.simple() && len(s.include) == 1 && literal(s.include[0]) }

// literal tells whether an entry is one tag, and no pattern.
func literal(entry string) bool { return image.ValidTag(entry) }

// takes tells whether the set would choose a tag that is there.
func (s tagSet) takes(tag string) bool {
	filter, err := tagfilter.Compile(s.spec())
	return err == nil && len(filter.Select([]string{tag})) > 0
}

// unite returns sets which together choose what any of the given ones chooses, as few as possible, and no tag twice where that
// can be had: one tag has one writer. It tells whether two of them may choose the same tag nevertheless.
func unite(sets []tagSet) (united []tagSet, overlap bool) {
	if len(sets) < 2 {
		return sets, false
	}
	named, others := simplest(sets)
	if named != nil && len(named.include) == 0 {
		return []tagSet{*named}, false
	}
	if named != nil && len(others) == 1 && !slices.ContainsFunc(named.include, func(s string) bool { return !literal(s) }) {
		if whole, ok := extend(others[0], named.include); ok {
			return []tagSet{whole}, false
		}
	}
	var taken []string
	if named != nil {
		united, taken = append(united, *named), named.include
	}
	for i, set := range others {
		set.exclude = append(slices.Clone(set.exclude), taken...)
		united = append(united, set)
		overlap = overlap || slices.ContainsFunc(others[:i], func(before tagSet) bool { return !set.sparesAll(before) })
	}
	return united, overlap
}

// sparesAll tells whether this set excludes everything that the other one includes.
func (s tagSet) sparesAll(other tagSet) bool {
	return len(other.include) > 0 && !slices.ContainsFunc(other.include, func(entry string) bool { return !slices.Contains(s.exclude, entry) })
}

// simplest puts all simple sets into one, which is nil where there is none, and versions of several ranges into one set.
func simplest(sets []tagSet) (named *tagSet, others []tagSet) {
	for _, set := range sets {
		switch {
		case set.simple() && named == nil:
			named = &tagSet{include: slices.Clone(set.include)}
		case set.simple() && (len(set.include) == 0 || len(named.include) == 0):
			named.include = nil
		case set.simple():
			named.include = append(named.include, set.include...)
		default:
			others = appendRange(others, set)
		}
	}
	if named != nil {
		named.include = unique(named.include)
	}
	return named, others
}

func appendRange(sets []tagSet, more tagSet) []tagSet {
	for i, set := range sets {
		same := slices.Equal(set.include, more.include) && slices.Equal(set.exclude, more.exclude) && set.newest == 0 && more.newest == 0
		if same && set.semver != "" && more.semver != "" {
			if set.semver != more.semver {
				sets[i].semver += " || " + more.semver
			}
			return sets
		}
	}
	return append(sets, more)
}

// extend adds literals to a set that has none of its own, where they stay chosen.
func extend(set tagSet, literals []string) (tagSet, bool) {
	include := set.chosen()
	if slices.ContainsFunc(include, literal) {
		return set, false
	}
	set.include = append(slices.Clone(include), literals...)
	for _, tag := range literals {
		if !set.takes(tag) {
			return set, false
		}
	}
	return set, true
}

func unique(texts []string) []string {
	var list []string
	for _, text := range texts {
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

// expression writes a regular expression, which may match anywhere in a tag, as dray's /RE2/, which matches all of it. What
// is one tag becomes that tag.
func expression(re string) (string, error) {
	tree, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		return "", err
	}
	if re == "^$" {
		return nothing, nil
	}
	core, begins, ends := unanchored(re, tree)
	if begins && ends && literal(core) && !strings.Contains(core, ".") {
		return core, nil
	}
	before, after := ".*", ".*"
	if begins {
		before = ""
	}
	if ends {
		after = ""
	}
	grouped := before + "(?:" + core + ")" + after
	if group, err := syntax.Parse(grouped, syntax.Perl); err == nil && same(group, before+core+after) {
		grouped = before + core + after
	}
	return escape("/" + grouped + "/"), nil
}

// nothing is an expression that no tag matches.
const nothing = "/(?:)/"

// unanchored takes the ^ and $ off that stand around all of an expression, and tells which there were. In "^a|b$" there are
// none.
func unanchored(re string, tree *syntax.Regexp) (core string, begins, ends bool) {
	core = re
	if core, begins = strings.CutPrefix(core, "^"); begins && !same(tree, "^(?:"+core+")") {
		core, begins = re, false
	}
	bare, ends := strings.CutSuffix(core, "$")
	switch {
	case !ends:
	case begins && same(tree, "^(?:"+bare+")$"), !begins && same(tree, "(?:"+bare+")$"):
		return bare, begins, true
	}
	return core, begins, false
}

// same tells whether another spelling means the same expression.
func same(tree *syntax.Regexp, re string) bool {
	other, err := syntax.Parse(re, syntax.Perl)
	return err == nil && other.Equal(tree)
}

// escape keeps dray from reading ${ as one of its references.
func escape(s string) string { return strings.ReplaceAll(s, "${", "$${") }
