package convert

import (
	"reflect"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/tagfilter"
)

// checkOverlaps has each tag written by one mapping, since dray refuses two writers of one tag: what other tools copy twice becomes one mapping, is
// excluded from one of two, or is left out of one, each with the reason.
func (d *document) checkOverlaps() {
	d.splitTargets()
	for i, m := range d.mappings {
		d.checkTwice(m, d.mappings[:i])
	}
	for d.pairs(d.unite) { // an entry that took the tags of a later one can overlap with one between them
	}
	d.pairs(d.divide)
}

// pairs calls f for each two mappings with the same target repositories, and reports whether it returned true for any.
func (d *document) pairs(f func(first, m *mapping, a, b copying) bool) (some bool) {
	type one struct {
		*mapping
		copying
	}
	kept := map[image.Repository][]*one{}
	for _, m := range d.mappings {
		b, ok := m.copies()
		if !ok || m.disabled {
			continue
		}
		key := b.targets[0].Repository // mappings of several targets share none with others, or all
		for _, first := range kept[key] {
			if !first.disabled && !m.disabled && first.alike(b) && f(first.mapping, m, first.copying, b) {
				first.copying, _ = first.copies()
				some = true
			}
		}
		kept[key] = append(kept[key], &one{m, b})
	}
	return some
}

// checkTwice leaves out an entry whose source, targets and tags another one has.
func (d *document) checkTwice(m *mapping, before []*mapping) {
	for _, first := range before {
		if !m.disabled && !first.disabled && m.source == first.source && slices.Equal(m.targets, first.targets) &&
			slices.Equal(m.repositories, first.repositories) && reflect.DeepEqual(m.sets, first.sets) {
			d.leaveOutTwice(m, first)
		}
	}
}

// leaveOutTwice leaves out an entry that copies what another one copies.
func (d *document) leaveOutTwice(m, first *mapping) {
	if reflect.DeepEqual(m.options, first.options) && m.untagged == first.untagged {
		d.disable(m, m.at, "it copies the same as the entry on line %d, and was left out", first.at.line())
		return
	}
	d.disable(m, m.at, "no equivalent: the entry on line %d copies the same with other options; dray refuses two writers of one tag", first.at.line())
}

// copying is what a mapping copies from one repository.
type copying struct {
	source  image.Reference
	targets []image.Reference
	renames bool // the one tag gets another name, or has none at the source
}

// copies is false for a mapping of several repositories, and for one whose references are known with their variables only.
func (m *mapping) copies() (c copying, ok bool) {
	if len(m.repositories) > 0 || strings.Contains(m.source+strings.Join(m.targets, " "), "${") {
		return c, false
	}
	source, err := image.Parse(m.source)
	if err != nil {
		return c, false
	}
	c.source = source
	for _, text := range m.targets {
		target, err := image.Parse(text)
		if err != nil {
			return c, false
		}
		c.targets = append(c.targets, target)
		c.renames = c.renames || len(m.sets) == 0 && (source.Digest != "" || source.Tag == "" || source.Tag != target.Tag)
	}
	return c, len(c.targets) > 0
}

// into returns the target of the copies in a repository.
func (c copying) into(repo image.Repository) (image.Reference, bool) {
	i := slices.IndexFunc(c.targets, func(t image.Reference) bool { return t.Repository == repo })
	if i < 0 {
		return image.Reference{}, false
	}
	return c.targets[i], true
}

// alike reports whether two mappings have the same target repositories.
func (c copying) alike(other copying) bool {
	return len(c.targets) == len(other.targets) && !slices.ContainsFunc(c.targets, func(t image.Reference) bool {
		_, ok := other.into(t.Repository)
		return !ok
	})
}

// splitTargets makes a mapping of several targets one for each, where another mapping has some of these targets and not all.
func (d *document) splitTargets() {
	into := map[image.Repository][]copying{}
	for _, m := range d.mappings {
		if c, ok := m.copies(); ok && !m.disabled {
			for _, t := range c.targets {
				into[t.Repository] = append(into[t.Repository], c)
			}
		}
	}
	some := func(c copying) bool {
		return slices.ContainsFunc(c.targets, func(t image.Reference) bool {
			return slices.ContainsFunc(into[t.Repository], func(other copying) bool { return !other.alike(c) })
		})
	}
	for _, m := range slices.Clone(d.mappings) {
		c, ok := m.copies()
		if m.disabled || !ok || len(m.targets) < 2 || !some(c) {
			continue
		}
		d.remarkMapping(m, "target", m.at, "another entry writes to some of its targets, so that it became one mapping for each")
		rest := m.targets[1:]
		m.targets = m.targets[:1:1]
		at := slices.Index(d.mappings, m) + 1
		for i, target := range rest {
			one := *m
			one.targets, one.remarks, one.sets = []string{target}, nil, slices.Clone(m.sets)
			d.add(&one)
			last := len(d.mappings) - 1
			d.mappings = slices.Insert(d.mappings[:last:last], at+i, &one)
		}
	}
}

// unite adds the tags of an entry to those of one before it, if both copy between the same repositories in the same way, and reports whether it did. Of
// two that write the same tag from different sources it leaves out the second.
func (d *document) unite(first, m *mapping, a, b copying) bool {
	same := a.source.Repository == b.source.Repository
	switch images := len(first.sets) == 0 && len(m.sets) == 0; {
	case images && !a.sameTags(b):
	case images && a.source == b.source:
		d.leaveOutTwice(m, first)
	case images:
		d.disable(m, m.at, "no equivalent: the entry on line %d writes the same tag from another source; dray refuses two writers of one tag", first.at.line())
	case same && !a.renames && !b.renames && first.untagged == m.untagged && reflect.DeepEqual(first.options, m.options):
		first.become(unite(slices.Concat(first.choices(a), m.choices(b))), a)
		d.disable(m, m.at, "its tags were added to those of the entry on line %d, which copies between the same repositories", first.at.line())
		return true
	}
	return false
}

// sameTags reports whether two images get the same tag in some repository.
func (c copying) sameTags(other copying) bool {
	return slices.ContainsFunc(c.targets, func(t image.Reference) bool {
		to, ok := other.into(t.Repository)
		return ok && to.Tag == t.Tag
	})
}

// choices returns what a mapping says about tags; of an image it is that tag.
func (m *mapping) choices(c copying) []tagSet {
	if len(m.sets) == 0 {
		return []tagSet{{include: []string{c.source.Tag}}}
	}
	return m.sets
}

// become makes a mapping one of chosen tags.
func (m *mapping) become(sets []tagSet, c copying) {
	m.source, m.sets = c.source.Repository.String(), sets
	m.targets = nil
	for _, t := range c.targets {
		m.targets = append(m.targets, t.Repository.String())
	}
}

// divide excludes from one of two entries what the other one writes too, and leaves it out if that is all of it.
func (d *document) divide(first, m *mapping, a, b copying) bool {
	same, why := a.source.Repository == b.source.Repository, "from another source"
	if same {
		why = "with other options"
	}
	d.exclude(m, first, first.tagsOf(), why)
	d.exclude(first, m, m.tagsOf(), why)
	switch {
	case first.disabled || m.disabled || !first.patterned() || !m.patterned():
	case same && reflect.DeepEqual(first.sets, m.sets):
		d.leaveOutTwice(m, first)
	case same && first.all() && m.simple():
		d.excludeChosen(first, m)
	case same && m.all() && first.simple():
		d.excludeChosen(m, first)
	default:
		d.remarkMapping(m, "tags", m.at, "the entry on line %d may choose some of the same tags, %s; dray refuses a tag that both choose: narrow the tags of one", first.at.line(), why)
	}
	return false
}

// all reports whether a mapping chooses every tag, but for some that it excludes.
func (m *mapping) all() bool {
	return len(m.sets) == 1 && m.sets[0].semver == "" && m.sets[0].newest == 0 && slices.Equal(m.sets[0].chosen(), []string{"*"})
}

// simple reports whether a mapping chooses by include alone.
func (m *mapping) simple() bool {
	return !m.all() && !slices.ContainsFunc(m.sets, func(s tagSet) bool { return !s.simple() })
}

// patterned reports whether a mapping chooses tags by a pattern.
func (m *mapping) patterned() bool {
	return slices.ContainsFunc(m.sets, func(s tagSet) bool {
		return slices.ContainsFunc(s.chosen(), func(entry string) bool { return !literal(entry) })
	})
}

// tagsOf returns the tags that a mapping writes in any case.
func (m *mapping) tagsOf() []string {
	if len(m.sets) == 0 {
		if c, ok := m.copies(); ok {
			return []string{c.targets[0].Tag}
		}
		return nil
	}
	var list []string
	for _, set := range m.sets {
		for _, entry := range set.include {
			if literal(entry) && !slices.Contains(set.exclude, entry) {
				list = append(list, entry)
			}
		}
	}
	return unique(list)
}

// exclude excludes from a mapping those of the tags, which another entry writes, that it can choose. One that names nothing else is left out.
func (d *document) exclude(m, writer *mapping, tags []string, why string) {
	if len(m.sets) == 0 || m.disabled || writer.disabled {
		return
	}
	var out []string
	var sets []tagSet
	for _, set := range m.sets {
		some := true
		for _, tag := range tags {
			if some && set.canChoose(tag) {
				out = append(out, tag)
				set, some = set.without(tag)
			}
		}
		if some {
			sets = append(sets, set)
		}
	}
	if out = unique(out); len(out) == 0 {
		return
	}
	text := strings.Join(out, ", ")
	if len(sets) == 0 {
		d.disable(m, m.at, "no equivalent: the entry on line %d writes %s, %s; dray refuses two writers of one tag", writer.at.line(), text, why)
		return
	}
	m.sets = sets
	d.remarkMapping(m, "tags", m.at, "without %s: the entry on line %d writes that, %s", text, writer.at.line(), why)
}

// excludeChosen excludes from a mapping of all tags those that another chooses, with other options.
func (d *document) excludeChosen(m, other *mapping) {
	set := tagSet{exclude: slices.Clone(m.sets[0].exclude)}
	for _, chosen := range other.sets {
		set.exclude = append(set.exclude, chosen.include...)
	}
	set.exclude = unique(set.exclude)
	m.sets = []tagSet{set}
	d.remarkMapping(m, "tags", m.at, "without the tags of the entry on line %d, which copies them with other options", other.at.line())
}

func (s tagSet) canChoose(tag string) bool {
	f, err := tagfilter.Compile(s.spec())
	return err == nil && f.CanChoose(tag) // what cannot be read is refused elsewhere
}

// without returns a set that does not choose a tag; some is false if nothing is left of it.
func (s tagSet) without(tag string) (rest tagSet, some bool) {
	if len(s.include) > 0 {
		s.include = slices.DeleteFunc(slices.Clone(s.include), func(entry string) bool { return entry == tag })
		if len(s.include) == 0 {
			return s, false
		}
	}
	if s.canChoose(tag) {
		s.exclude = append(slices.Clone(s.exclude), tag)
	}
	return s, true
}
