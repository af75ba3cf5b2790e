package config

import (
	"errors"
	"strings"

	"github.com/draysync/dray/internal/tagfilter"
)

// onlyForRepositories reports keys that do not apply to one image.
func (b *builder) onlyForRepositories(s *mappingSection) {
	for _, at := range []origin{s.Tags.origin, s.Repositories.origin} {
		if at.set {
			b.fail(at, errors.New("does not apply to a single image, which the source names by tag or digest"), "remove it, or the source's tag or digest")
		}
	}
}

// chooseTags compiles the tags of a mapping or its defaults.
func (b *builder) chooseTags(s *mappingSection, m *Mapping) {
	switch missing := s.origin.below("tags"); {
	case b.all.Tags.set:
		m.Tags = b.tags(b.all.Tags)
	case !b.reported(missing):
		b.fail(missing, errors.New("is missing, and the source is a repository"), `write tags: ["*"] to mean every tag, or add a tag to the source`)
	}
}

// reported reports whether a mistake in a section has been reported.
func (b *builder) reported(at origin) bool {
	for _, e := range b.errs {
		rest, within := strings.CutPrefix(e.Key, at.key)
		if within && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// filters caches the filters of one file, by identity: in a long file most are the same.
type filters struct {
	compiler tagfilter.Compiler
	known    map[string]tagfilter.Filter
}

func (f *filters) compile(spec tagfilter.Spec) (tagfilter.Filter, error) {
	id := spec.Identity()
	if filter, ok := f.known[id]; ok {
		return filter, nil
	}
	filter, err := f.compiler.Compile(spec)
	if err == nil {
		if f.known == nil {
			f.known = map[string]tagfilter.Filter{}
		}
		f.known[id] = filter
	}
	return filter, err
}

// tags compiles the section. If it has mistakes, tags reports them and returns the zero Filter.
func (b *builder) tags(s tagsSection) tagfilter.Filter {
	if !s.set {
		return tagfilter.Filter{}
	}
	if len(s.sets) == 0 {
		return b.tagSet(s)
	}
	var all []tagfilter.Filter
	if s.Include.set {
		all = append(all, b.tagSet(s))
	}
	for _, set := range s.sets {
		all = append(all, b.tagSet(set))
	}
	return tagfilter.Union(all...)
}

func (b *builder) tagSet(s tagsSection) tagfilter.Filter {
	spec := tagfilter.Spec{
		Include: values(s.Include),
		Exclude: values(s.Exclude),
		Semver:  s.Semver.value,
		Suffix:  s.Suffix.value,
		Newest:  s.Newest.value,
		Sort:    s.Sort.value,
	}
	if s.Min.set {
		spec.Min = &s.Min.value
	}
	filter, err := b.filters.compile(spec)
	if err != nil {
		b.tagMistakes(s, err)
	}
	return filter
}

// tagMistakes reports each mistake at its position in the file.
func (b *builder) tagMistakes(s tagsSection, err error) {
	incomplete := b.reported(s.origin)
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		b.fail(s.origin, errors.New("is not valid"), "")
		return
	}
	wanted := map[string]string{
		"include": "a tag or a pattern", "exclude": "a tag or a pattern", "semver": "a version range", "suffix": "the ending of a tag",
	}
	for _, err := range joined.Unwrap() {
		e, ok := errors.AsType[*tagfilter.Error](err)
		if !ok {
			b.fail(s.origin, errors.New("is not valid"), "")
			continue
		}
		at := s.culprit(e)
		if !at.set || incomplete && e.Field == "include" && e.Index < 0 {
			continue // the cause has been reported
		}
		b.invalid(at, e.Err, wanted[e.Field])
	}
}

// culprit returns the text that a mistake is about, or the section as a text without one.
func (s tagsSection) culprit(e *tagfilter.Error) text {
	lists := map[string]list[text]{"include": s.Include, "exclude": s.Exclude}
	texts := map[string]text{"semver": s.Semver, "suffix": s.Suffix, "sort": s.Sort, "newest": {origin: s.Newest.origin}, "min": {origin: s.Min.origin}}
	if l := lists[e.Field]; l.set && e.Index >= 0 && e.Index < len(l.items) {
		return l.items[e.Index]
	} else if l.set {
		return text{origin: l.origin}
	}
	if t := texts[e.Field]; t.set {
		return t
	}
	return text{origin: s.origin.below(e.Field)}
}
