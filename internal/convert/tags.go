package convert

import (
	"reflect"
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

// unite returns the sets without what is there twice. Those that choose by include alone become one, the first.
func unite(sets []tagSet) []tagSet {
	var plain *tagSet
	var others []tagSet
	for _, set := range sets {
		switch {
		case !set.simple():
			if !slices.ContainsFunc(others, func(other tagSet) bool { return reflect.DeepEqual(other, set) }) {
				others = append(others, set)
			}
		case plain == nil:
			plain = &tagSet{include: unique(set.include)}
		case len(set.include) == 0 || len(plain.include) == 0:
			plain.include = nil
		default:
			plain.include = unique(slices.Concat(plain.include, set.include))
		}
	}
	switch {
	case plain == nil:
		return others
	case len(plain.include) == 0: // every tag
		return []tagSet{*plain}
	}
	return append([]tagSet{*plain}, others...)
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
