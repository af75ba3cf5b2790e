package convert

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// document is a config of dray in the making.
type document struct {
	tool       Tool
	files      []string
	remarks    []string // comments at the top
	jobs       int      // 0 for the default
	defaults   options
	registries []*registry
	mappings   []*mapping
	notes      []Note
}

// options are the keys of a mapping that can stand in defaults as well; empty is not said.
type options struct {
	immutable     []string
	platforms     []string
	referrers     []string // ["true"], ["false"], or artifact types
	foreignLayers bool
	schedule      string
	timezone      string
	moved         string
	engine        string
}

// registry is an entry of registries.
type registry struct {
	key                string
	username, password string
	caFile             string
	certFile, keyFile  string
	skipVerify         bool
	plainHTTP          bool
	concurrency        int
	keep               int
	perSecond          int
	azure              bool
	resourceID         string
	remarks            []string
}

// mapping is an entry of mappings.
type mapping struct {
	at           value // where it stands in the source
	name         string
	source       string
	targets      []string
	repositories []string
	sets         []tagSet // of which a tag has to satisfy one; nil for one image
	untagged     bool
	options
	remarks  map[string][]string // by the key before which they stand; "" is before all
	disabled bool                // written as a comment
	ranges   bool                // it is said what its ranges of versions mean
}

// note tells something on stderr only.
func (d *document) note(at value, format string, args ...any) string {
	text := printable(fmt.Sprintf(format, args...))
	file := ""
	if at.r != nil {
		file = at.r.file
	}
	d.notes = append(d.notes, Note{File: file, Line: at.line(), Key: at.key, Text: text})
	return text
}

// remark is a comment at the top.
func (d *document) remark(at value, format string, args ...any) {
	d.remarks = append(d.remarks, about(at, d.note(at, format, args...)))
}

// remarkMapping is a comment before a key of the mapping.
func (d *document) remarkMapping(m *mapping, key string, at value, format string, args ...any) {
	if m.remarks == nil {
		m.remarks = map[string][]string{}
	}
	m.remarks[key] = append(m.remarks[key], about(at, d.note(at, format, args...)))
}

// remarkRegistry is a comment before the registry's key.
func (d *document) remarkRegistry(r *registry, at value, format string, args ...any) {
	r.remarks = append(r.remarks, about(at, d.note(at, format, args...)))
}

// noReferrers is for tools that copy images only.
func (d *document) noReferrers(at section) []string {
	d.remark(value{r: at.r}, "%s copies no referrers (signatures, SBOMs, attestations); remove referrers: false to have dray copy them", d.tool)
	return []string{"false"}
}

// disable leaves a mapping in the output as a comment only.
func (d *document) disable(m *mapping, at value, format string, args ...any) {
	m.disabled = true
	d.remarkMapping(m, "", at, format, args...)
}

var plainKey = regexp.MustCompile(`^[A-Za-z][A-Za-z_-]*(\[[0-9]+\])?$`)

// about puts the last part of a key before a text.
func about(at value, text string) string {
	key := at.key[strings.LastIndexByte(at.key, '.')+1:]
	if !plainKey.MatchString(key) { // an image as a key, say
		return text
	}
	return printable(key) + ": " + text
}

// registry returns the entry of a host, or of host/path, and makes it where there is none. It is nil for what is no host.
func (d *document) registry(at value, key string) *registry {
	host, path, _ := strings.Cut(key, "/")
	canonical, err := image.CanonicalHost(host)
	if err == nil && !strings.ContainsAny(host, ".:") && canonical != "localhost" {
		err = errors.New("is not a host with a dot or a port")
	}
	if err == nil && path != "" {
		_, err = image.ParsePrefix(canonical + "/" + path)
	}
	if err != nil {
		d.remark(at, "no equivalent: %q cannot be a key of registries; write its credentials there by host", key)
		return nil
	}
	key = canonical
	if path != "" {
		key += "/" + path
	}
	for _, r := range d.registries {
		if r.key == key {
			return r
		}
	}
	r := &registry{key: key}
	d.registries = append(d.registries, r)
	return r
}

// credentials sets name and password, which only work together. Either may be a reference such as ${env:NAME}.
func (d *document) credentials(r *registry, at value, username, password string) {
	switch {
	case username == "" && password == "":
	case username == "" || password == "":
		d.remarkRegistry(r, at, "no equivalent: username and password belong together; write both, or use docker login")
	case r.username != "" && (r.username != username || r.password != password):
		d.remarkRegistry(r, at, "no equivalent: other credentials for the same registry; write them as registries.%s/PATH", r.key)
	default:
		r.username, r.password = username, password
	}
}

// secret returns what to write for a secret that stands in the source in plain text: a variable's name.
func (d *document) secret(r *registry, at value) string {
	name := "DRAY_PASSWORD_" + strings.ToUpper(nonName.ReplaceAllString(r.key, "_"))
	d.remarkRegistry(r, at, "the plain-text secret was not copied; set the environment variable %s", name)
	return "${env:" + name + "}"
}

var (
	nonName     = regexp.MustCompile(`[^A-Za-z0-9]+`)
	nonMapping  = regexp.MustCompile(`[^A-Za-z0-9._/-]+`)
	hostPattern = regexp.MustCompile(`^(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?$`)
)

// loopback tells whether a registry is on this machine.
func loopback(host string) bool { return hostPattern.MatchString(host) }

// add appends a mapping, with a name of its own.
func (d *document) add(m *mapping) {
	if m.name == "" {
		m.name = m.source
		if ref, err := image.Parse(m.source); err == nil && !ref.IsLayout() {
			m.name = ref.Path
		}
		m.name = strings.TrimPrefix(m.name, "library/")
	}
	if image.HoldsUserinfo(m.name) {
		m.name = m.name[strings.LastIndexByte(m.name, '@')+1:]
	}
	if m.name = strings.Trim(nonMapping.ReplaceAllString(m.name, "-"), "-"); m.name == "" {
		m.name = "mapping"
	}
	m.name = m.name[:min(len(m.name), 120)]
	base := m.name
	taken := func(other *mapping) bool { return other.name == m.name }
	for i := 2; slices.ContainsFunc(d.mappings, taken); i++ {
		m.name = base + "-" + strconv.Itoa(i)
	}
	d.mappings = append(d.mappings, m)
}

// hoist moves what all mappings say alike to the defaults.
func (d *document) hoist() {
	if len(d.mappings) < 2 {
		return
	}
	first := d.mappings[0].options
	all := func(same func(o options) bool) bool {
		return !slices.ContainsFunc(d.mappings, func(m *mapping) bool { return !same(m.options) })
	}
	if all(func(o options) bool { return slices.Equal(o.immutable, first.immutable) }) {
		d.defaults.immutable = first.immutable
	}
	if all(func(o options) bool { return slices.Equal(o.platforms, first.platforms) }) {
		d.defaults.platforms = first.platforms
	}
	if all(func(o options) bool { return slices.Equal(o.referrers, first.referrers) }) {
		d.defaults.referrers = first.referrers
	}
	if all(func(o options) bool { return o.schedule == first.schedule && o.timezone == first.timezone }) {
		d.defaults.schedule, d.defaults.timezone = first.schedule, first.timezone
	}
	if all(func(o options) bool { return o.moved == first.moved }) {
		d.defaults.moved = first.moved
	}
	if all(func(o options) bool { return o.foreignLayers }) {
		d.defaults.foreignLayers = true
	}
	for _, m := range d.mappings {
		m.without(d.defaults)
	}
}

// without takes out what the defaults say.
func (m *mapping) without(defaults options) {
	if len(defaults.immutable) > 0 {
		m.immutable = nil
	}
	if len(defaults.platforms) > 0 {
		m.platforms = nil
	}
	if len(defaults.referrers) > 0 {
		m.referrers = nil
	}
	if defaults.schedule != "" {
		m.schedule, m.timezone = "", ""
	}
	if defaults.moved != "" {
		m.moved = ""
	}
	if defaults.foreignLayers {
		m.foreignLayers = false
	}
}
