package config

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"regexp"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

// maxName is the longest name of a mapping, in characters.
const maxName = 128

var mappingName = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

// builder builds the config from a document that fits the grammar, and reports invalid values.
type builder struct {
	*report
	folder    string
	files     files
	filters   filters
	schedules schedules
	known     map[string]Registry
	cloud     Azure
	clustered bool
	plain     map[string]bool // registries that are used without TLS
	dirs      file.DirNames   // where layouts are
	all       options         // those of the current mapping, with inherited ones
}

func (b *builder) config(name string, doc *document) *Config {
	defaults := &doc.Defaults.options
	for _, section := range []any{doc, &doc.Log, &doc.Server, &doc.Cluster, defaults} {
		preset(reflect.ValueOf(section).Elem())
	}
	c := &Config{
		Path:          name,
		StateDir:      b.path(doc.StateDir),
		Log:           Log{Level: doc.Log.Level.value, Format: doc.Log.Format.value},
		Server:        b.server(doc.Server),
		Cluster:       b.cluster(doc.Cluster),
		Jobs:          doc.Jobs.value,
		ShutdownGrace: b.grace(doc.ShutdownGrace),
		Notifications: b.notifications(&doc.Notifications),
		Receivers:     b.receivers(&doc.Receivers),
		Registries:    b.registries(doc.Registries),
		Azure:         b.azure(&doc.Azure),
	}
	b.known, b.cloud, b.clustered = c.Registries, c.Azure, doc.Cluster.Ledger.set
	b.options(defaults, &Mapping{})
	b.schedule(defaults, defaults, &Mapping{})
	b.tags(doc.Defaults.Tags)
	taken := map[string]Position{}
	const usual = 10_000 // more may be nonsense
	c.Mappings = make([]Mapping, 0, min(doc.Mappings.len(), usual))
	doc.Mappings.each(func(s *mappingSection) {
		m := b.mapping(s, defaults)
		b.takeName(s, m, taken)
		c.Mappings = append(c.Mappings, m)
	})
	return c
}

// mapping builds the mapping, and reports its mistakes.
func (b *builder) mapping(s *mappingSection, defaults *options) Mapping {
	m := Mapping{Pos: s.origin.pos, Name: s.Name.value}
	b.all = s.options
	inherit(&b.all, defaults)
	b.options(&b.all, &m)
	b.schedule(&b.all, &s.options, &m)
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
func (b *builder) takeName(s *mappingSection, m Mapping, taken map[string]Position) {
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
