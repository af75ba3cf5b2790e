package config

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"regexp"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/signature"
)

// maxName is the longest name of a mapping, in characters.
const maxName = 128

var mappingName = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

// builder builds the config from the documents of its files, which fit the grammar, and reports invalid values of one of them.
type builder struct {
	*report
	*commons
	folder string
	files  files
	world  Options
	inputs *inputs
	all    options // those of the current mapping, with inherited ones
}

// inputs are the files of imagesFrom, and the patterns of such.
type inputs struct {
	files
	globs []string
}

// commons is what the files of a config share.
type commons struct {
	filters   filters
	schedules schedules
	known     map[string]Registry
	cloud     Azure
	clustered bool
	root      func(text []byte) (signature.Root, error)
	// policyNames are those of verify.
	policyNames []string
	plain       map[string]bool // registries that are used without TLS
	dirs        file.DirNames   // where layouts are
	names       map[string]Position
	hooks       map[string]Position // receivers
}

// settings builds what only the main file has.
func (b *builder) settings(name string, doc *document) *Config {
	for _, section := range []any{doc, &doc.Log, &doc.Server, &doc.Cluster, &doc.Defaults.options} {
		preset(reflect.ValueOf(section).Elem())
	}
	return &Config{
		Path:          name,
		StateDir:      b.path(doc.StateDir),
		Log:           Log{Level: doc.Log.Level.value, Format: doc.Log.Format.value},
		Server:        b.server(doc.Server),
		Cluster:       b.cluster(doc.Cluster),
		Jobs:          doc.Jobs.value,
		ShutdownGrace: b.grace(doc.ShutdownGrace),
		Bandwidth:     b.bandwidth(doc.Bandwidth),
		Notifications: b.notifications(&doc.Notifications),
		Policies:      b.policies(doc.Verify),
		Azure:         b.azure(&doc.Azure),
	}
}

// mappings builds the mappings of a file. Its defaults are complete.
func (b *builder) mappings(doc *document) []Mapping {
	defaults := &doc.Defaults.options
	b.options(defaults, &Mapping{})
	b.schedule(defaults, defaults, &Mapping{})
	b.tags(doc.Defaults.Tags)
	const usual = 10_000 // more may be nonsense
	all := make([]Mapping, 0, min(doc.Mappings.len(), usual))
	doc.Mappings.each(func(s *mappingSection) {
		m := b.mapping(s, defaults)
		b.takeName(s, m)
		all = append(all, m)
	})
	return all
}

// mapping builds the mapping, and reports its mistakes.
func (b *builder) mapping(s *mappingSection, defaults *options) Mapping {
	m := Mapping{Pos: s.origin.pos, Name: s.Name.value}
	b.all = s.options
	inherit(&b.all, defaults)
	b.options(&b.all, &m)
	b.schedule(&b.all, &s.options, &m)
	if s.Images.set || s.ImagesFrom.set {
		b.images(s, &m)
		b.shared(s, &m)
		b.engine(s, &m, b.known)
		return m
	}
	if s.Rename.set {
		b.fail(s.Rename.origin, errors.New("is for images and imagesFrom"), "write it into the target, as {{.Registry}}/{{.Repository}}")
	}
	b.source(s, &m)
	b.repositories(s.Repositories, &m)
	b.targets(s, &m)
	b.shared(s, &m)
	switch {
	case m.Source.IsZero():
		m.Tags = b.tags(s.Tags)
	case single(m.Source):
		b.onlyForRepositories(s)
	default:
		b.chooseTags(s, &m)
	}
	b.retagged(&m)
	b.engine(s, &m, b.known)
	b.untagged(s, &m)
	if !s.Name.set && !m.Source.IsZero() {
		m.Name = defaultName(m.Source)
	}
	return m
}

// defaultName returns the path of the source's repository or, for a layout, the directory's base name.
func defaultName(source image.Reference) string {
	if source.IsLayout() {
		return path.Base(source.Path)
	}
	return source.Path
}

// takeName checks the name, and that no earlier mapping has it.
func (b *builder) takeName(s *mappingSection, m Mapping) {
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
	if first, ok := b.names[m.Name]; ok {
		what := quote(m.Name)
		if t.expanded() {
			what = quote(t.raw)
		}
		b.fail(t.origin, fmt.Errorf("the mapping's name %s is taken by the mapping in %s", what, first.From(m.Pos.File)), "give this one a name of its own")
		return
	}
	b.names[m.Name] = m.Pos
}

// invalid reports a text that does not parse. The parser's error repeats the value, so it is not shown if the value came from a variable or
// another file.
func (b *builder) invalid(t text, err error, wanted string) {
	const enough = 4 * maxReference
	switch {
	case errors.Is(err, image.ErrUserinfo): // this error does not repeat the value
	case t.expanded():
		err = fmt.Errorf("%s does not expand to %s", quote(t.raw), wanted)
	case len(err.Error()) > enough:
		err = fmt.Errorf("%s is not %s", quote(t.raw), wanted)
	}
	b.fail(t.origin, err, "")
}
