package config

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/tagfilter"
)

// maxName is the longest name of a mapping, in characters.
const maxName = 128

var mappingName = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

// builder makes the config of a document that fits the grammar, and reports what has no meaning.
type builder struct {
	*report
	folder string
}

func (b *builder) config(name string, doc document) *Config {
	preset(reflect.ValueOf(&doc.Log).Elem())
	c := &Config{
		Path:       name,
		Log:        Log{Level: doc.Log.Level.value, Format: doc.Log.Format.value},
		Registries: b.registries(doc.Registries),
	}
	b.options(doc.Defaults.options, Mapping{})
	b.tags(doc.Defaults.Tags)
	taken := map[string]Position{}
	for _, s := range doc.Mappings.items {
		if s.origin.set {
			m := b.mapping(s, doc.Defaults.options)
			b.takeName(s, m, taken)
			c.Mappings = append(c.Mappings, m)
		}
	}
	return c
}

// preset gives the keys that are not there their defaults.
func preset(v reflect.Value) {
	for _, f := range reflect.VisibleFields(v.Type()) {
		value, ok := f.Tag.Lookup("default")
		if !ok {
			continue
		}
		target := v.FieldByIndex(f.Index).Addr().Interface()
		if t, ok := target.(interface {
			where() origin
			preset(string)
		}); ok && !t.where().set {
			t.preset(value)
		}
	}
}

// inherit returns the options with what they leave out taken from the defaults.
func inherit(own, defaults options) options {
	o, d := reflect.ValueOf(&own).Elem(), reflect.ValueOf(defaults)
	for i := range o.NumField() {
		if f, ok := o.Field(i).Addr().Interface().(interface{ where() origin }); ok && !f.where().set {
			o.Field(i).Set(d.Field(i))
		}
	}
	return own
}

// mapping makes the mapping; what of it is wrong has been reported.
func (b *builder) mapping(s mappingSection, defaults options) Mapping {
	m := b.options(inherit(s.options, defaults), Mapping{Pos: s.origin.pos, Name: s.Name.value})
	b.source(s, &m)
	b.repositories(s.Repositories, &m)
	b.targets(s, &m)
	switch {
	case m.Source.IsZero():
		m.Tags = b.tags(s.Tags)
	case single(m.Source):
		b.onlyForRepositories(s)
	default:
		b.chooseTags(s, defaults, &m)
	}
	if !s.Name.set && !m.Source.IsZero() {
		m.Name = defaultName(m.Source)
	}
	return m
}

// single tells whether a source is one image.
func single(r image.Reference) bool { return r.Tag != "" || r.Digest != "" }

// options fills in what a mapping has in common with defaults, but for the tags.
func (b *builder) options(o options, m Mapping) Mapping {
	preset(reflect.ValueOf(&o).Elem())
	seen := map[image.Platform]int{}
	for i, t := range o.Platforms.items {
		if !t.set {
			continue
		}
		p, err := image.ParsePlatform(t.value)
		if err != nil {
			b.invalid(t, err, "a platform such as linux/amd64")
			continue
		}
		if first, ok := seen[p]; ok && o.Platforms.items[first].value != t.value {
			b.fail(t.origin, fmt.Errorf("%s is the same platform as entry %d", quote(t.raw), first), "remove one of them")
			continue
		}
		seen[p] = i
		m.Platforms = append(m.Platforms, p)
	}
	m.Moved = Moved(o.Moved.value)
	m.Referrers = Referrers{All: o.Referrers.all, Types: b.artifactTypes(o.Referrers.types)}
	m.Timeout = b.duration(o.Timeout)
	m.Retries = o.Retries.value
	return m
}

// artifactType is a media type: RFC 6838, section 4.2.
var artifactType = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$`)

func (b *builder) artifactTypes(l list[text]) []string {
	for _, t := range l.items {
		if t.set && !artifactType.MatchString(t.value) {
			b.invalid(t, fmt.Errorf("%s is not an artifact type: write a media type such as application/spdx+json", quote(t.raw)), "a media type such as application/spdx+json")
		}
	}
	return values(l)
}

func (b *builder) duration(t text) time.Duration {
	d, err := time.ParseDuration(t.value)
	if err != nil || d <= 0 {
		b.invalid(t, fmt.Errorf("%s is not a duration above zero: write a number with a unit, such as 90s, 30m or 1h30m", quote(t.raw)), "a duration such as 30m")
	}
	return d
}

// source reads the source, which is a prefix where repositories are listed.
func (b *builder) source(s mappingSection, m *Mapping) {
	if !s.Source.set {
		return
	}
	ref, err := b.reference(s.Source.value, false)
	if err == nil && s.Repositories.set && !single(ref) {
		ref, err = b.reference(s.Source.value, true)
	}
	if err != nil {
		b.invalid(s.Source, err, "a reference such as registry/repository:tag")
		return
	}
	m.Source = ref
}

// maxReference bounds a reference, so that messages about it stay readable.
const maxReference = 1024

func (b *builder) reference(value string, prefix bool) (image.Reference, error) {
	if len(value) > maxReference {
		return image.Reference{}, fmt.Errorf("reference %s: has %d characters, %d are allowed", quote(value), len(value), maxReference)
	}
	if prefix {
		repository, err := image.ParsePrefix(value)
		return image.Reference{Repository: repository}, err
	}
	return image.Parse(value)
}

// targets reads target or targets.
func (b *builder) targets(s mappingSection, m *Mapping) {
	all := s.Targets.items
	if s.Target.set {
		all = append([]text{s.Target}, all...)
	}
	seen := map[image.Reference]text{}
	for _, t := range all {
		if !t.set {
			continue
		}
		ref, err := b.target(t, s, *m)
		if err != nil {
			continue
		}
		if first, ok := seen[ref]; ok {
			if first.value != t.value {
				b.fail(t.origin, fmt.Errorf("%s is the same target as %s in line %d", quote(t.raw), quote(first.raw), first.pos.Line), "remove one of them")
			}
			continue
		}
		seen[ref] = t
		m.Targets = append(m.Targets, ref)
	}
}

var errReported = errors.New("has been reported")

func (b *builder) target(t text, s mappingSection, m Mapping) (image.Reference, error) {
	ref, err := b.reference(t.value, false)
	if err == nil && s.Repositories.set && !single(ref) {
		ref, err = b.reference(t.value, true)
	}
	if err != nil {
		b.invalid(t, err, "a reference such as registry/repository")
		return ref, errReported
	}
	wrong, hint := "", ""
	switch {
	case m.Source.IsZero():
	case ref.Digest != "":
		wrong, hint = "%s has a digest, and a target's digest is always the source's", "write a tag, or nothing behind the repository"
	case ref.Tag != "" && !single(m.Source):
		wrong, hint = "%s has a tag, and a source without one brings its tags along", "remove the tag, or add one to the source"
	case ref.Repository == m.Source.Repository:
		wrong, hint = "%s is the repository that the source is", "write another repository"
	case ref.Tag == "" && m.Source.Tag == "" && m.Source.Digest != "":
		wrong, hint = "%s has no tag, and the source's digest gives it none", "add a tag to the target"
	}
	if wrong != "" {
		b.fail(t.origin, fmt.Errorf(wrong, quote(t.raw)), hint)
		return ref, errReported
	}
	if ref.Tag == "" {
		ref.Tag = m.Source.Tag
	}
	return ref, nil
}

// onlyForRepositories reports keys that mean nothing for one image.
func (b *builder) onlyForRepositories(s mappingSection) {
	for _, at := range []origin{s.Tags.origin, s.Repositories.origin} {
		if at.set {
			b.fail(at, errors.New("means nothing for one image, as which the source's tag or digest makes it"), "remove it, or the source's tag or digest")
		}
	}
}

var (
	repositoryLiteral = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	repositoryClass   = regexp.MustCompile(globClass)
	repositoryGlob    = regexp.MustCompile(`^` + globPart + `(?:/` + globPart + `)*$`)
)

const (
	globClass = `\[(?:[a-z0-9._](?:-[a-z0-9._])?)+\]`
	// globPart is one part of a path with *, ? and [a-z].
	globPart = `(?:[a-z0-9._*?-]|` + globClass + `)+`
)

func (b *builder) repositories(l list[text], m *Mapping) {
	for _, t := range l.items {
		if !t.set {
			continue
		}
		if err := checkRepository(t.value); err != nil {
			b.invalid(t, err, "a path below the source, or a glob")
			continue
		}
		m.Repositories = append(m.Repositories, t.value)
	}
}

// checkRepository accepts the path of a repository, and a glob of what both path.Match and people read alike.
func checkRepository(s string) error {
	if !strings.ContainsAny(s, "*?[]{}") {
		if !repositoryLiteral.MatchString(s) {
			return fmt.Errorf("%s is not a path below the source: write lower-case letters and digits, joined by '.', '_', '-', parts by '/'", quote(s))
		}
		return nil
	}
	if !repositoryGlob.MatchString(s) {
		return fmt.Errorf("%s is not a glob of repositories: write lower-case paths with *, ? and [a-z], and several entries for what {a,b} would mean", quote(s))
	}
	for _, class := range repositoryClass.FindAllString(s, -1) {
		for i := 2; i+1 < len(class); i++ {
			if class[i] == '-' && class[i-1] > class[i+1] {
				return fmt.Errorf("%s has the range %s, which runs backwards", quote(s), class[i-1:i+2])
			}
		}
	}
	return nil
}

// defaultName is the path of the source's repository; of a layout, the directory's own name.
func defaultName(source image.Reference) string {
	if source.IsLayout() {
		return path.Base(source.Path)
	}
	return source.Path
}

// takeName checks the name, and that no mapping before has it.
func (b *builder) takeName(s mappingSection, m Mapping, taken map[string]Position) {
	t := s.Name
	if !t.set {
		t = s.Source
	}
	if m.Name == "" {
		return
	}
	if !mappingName.MatchString(m.Name) || len(m.Name) > maxName {
		b.invalid(t, fmt.Errorf("%s cannot be the mapping's name: write 1 to %d letters, digits, '.', '_', '-', '/' as its name", quote(m.Name), maxName), "a name")
		return
	}
	if first, ok := taken[m.Name]; ok {
		what := quote(m.Name)
		if t.expanded() {
			what = quote(t.raw)
		}
		b.fail(t.origin, fmt.Errorf("the mapping's name %s is taken by the mapping in line %d", what, first.Line), "give this one a name of its own")
		return
	}
	taken[m.Name] = m.Pos
}

// invalid reports a text that does not parse. The parser's words repeat the value, which one from elsewhere must not be.
func (b *builder) invalid(t text, err error, wanted string) {
	if t.expanded() {
		err = fmt.Errorf("%s does not expand to %s", quote(t.raw), wanted)
	}
	b.fail(t.origin, err, "")
}

// chooseTags compiles what a mapping or its defaults say about tags.
func (b *builder) chooseTags(s mappingSection, defaults options, m *Mapping) {
	section := s.Tags
	if !section.set {
		section = defaults.Tags
	}
	switch missing := s.origin.below("tags"); {
	case section.set:
		m.Tags = b.tags(section)
	case !b.reported(missing):
		b.fail(missing, errors.New("is missing, and the source is a repository"), `write tags: ["*"] to mean every tag, or add a tag to the source`)
	}
}

// reported tells whether something within a section has been reported.
func (b *builder) reported(at origin) bool {
	for _, e := range b.errs {
		rest, within := strings.CutPrefix(e.Key, at.key)
		if within && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// tags compiles the section; it is the zero Filter where something is wrong, which has been reported then.
func (b *builder) tags(s tagsSection) tagfilter.Filter {
	if !s.set {
		return tagfilter.Filter{}
	}
	filter, err := tagfilter.Compile(tagfilter.Spec{
		Include: values(s.Include),
		Exclude: values(s.Exclude),
		Semver:  s.Semver.value,
		Suffix:  s.Suffix.value,
		Newest:  s.Newest.value,
	})
	if err != nil {
		b.tagMistakes(s, err)
	}
	return filter
}

// tagMistakes gives each mistake its place in the file.
func (b *builder) tagMistakes(s tagsSection, err error) {
	incomplete := b.reported(s.origin)
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // it is errors.Join's own
	if !ok {
		b.fail(s.origin, errors.New("is not valid"), "")
		return
	}
	wanted := map[string]string{
		"include": "a tag or a pattern", "exclude": "a tag or a pattern", "semver": "a version range", "suffix": "the ending of a tag",
	}
	for _, err := range joined.Unwrap() {
		e, ok := errors.AsType[*tagfilter.Error](err)
		if !ok {
			b.fail(s.origin, err, "")
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
	texts := map[string]text{"semver": s.Semver, "suffix": s.Suffix}
	if l := lists[e.Field]; l.set && e.Index >= 0 && e.Index < len(l.items) {
		return l.items[e.Index]
	} else if l.set {
		return text{origin: l.origin}
	}
	if t := texts[e.Field]; t.set {
		return t
	}
	if e.Field == "newest" && s.Newest.set {
		return text{origin: s.Newest.origin}
	}
	return text{origin: s.origin.below(e.Field)}
}
