package convert

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// width is where comments are wrapped, in characters.
const width = 110

// emitter writes YAML line by line.
type emitter struct{ strings.Builder }

func (e *emitter) line(indent int, format string, args ...any) {
	e.WriteString(strings.TrimRight(strings.Repeat(" ", indent)+fmt.Sprintf(format, args...), " ") + "\n")
}

// comment writes text as comment lines.
func (e *emitter) comment(indent int, text string) {
	line := ""
	for word := range strings.FieldsSeq(printable(text)) {
		if line != "" && indent+2+len(line)+1+len(word) > width {
			e.line(indent, "# %s", line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	if line != "" {
		e.line(indent, "# %s", line)
	}
}

func (e *emitter) comments(indent int, texts []string) {
	for _, text := range texts {
		e.comment(indent, text)
	}
}

// field writes a key with a text, where there is one.
func (e *emitter) field(indent int, key, text string) {
	if text != "" {
		e.line(indent, "%s: %s", key, scalar(text))
	}
}

func (e *emitter) number(indent int, key string, n int) {
	if n != 0 {
		e.line(indent, "%s: %d", key, n)
	}
}

func (e *emitter) flag(indent int, key string, set bool) {
	if set {
		e.line(indent, "%s: true", key)
	}
}

// list writes a key with a list, on one line where it fits.
func (e *emitter) list(indent int, key string, texts []string) {
	if len(texts) == 0 {
		return
	}
	items := make([]string, len(texts))
	for i, text := range texts {
		items[i] = scalar(text)
	}
	if line := fmt.Sprintf("%s: [%s]", key, strings.Join(items, ", ")); indent+len(line) <= width {
		e.line(indent, "%s", line)
		return
	}
	e.line(indent, "%s:", key)
	for _, item := range items {
		e.line(indent+2, "- %s", item)
	}
}

// document writes all of it.
func (e *emitter) document(d *document) {
	e.comment(0, fmt.Sprintf("Made by dray convert from %s, %s.", strings.Join(d.files, " and "), d.tool.Kind()))
	e.comment(0, `Read it, and then what "dray plan" prints, before you use it.`)
	e.comments(0, d.remarks)
	e.line(0, "version: 1")
	e.number(0, "jobs", d.jobs)
	var defaults emitter
	defaults.options(2, d.defaults, nil)
	if defaults.Len() > 0 {
		e.line(0, "\ndefaults:\n%s", strings.TrimSuffix(defaults.String(), "\n"))
	}
	e.registries(d.registries)
	e.line(0, "\nmappings:")
	for _, m := range d.mappings {
		e.mapping(m)
	}
}

func (e *emitter) registries(list []*registry) {
	var live emitter
	some := false
	for _, r := range list {
		var body emitter
		body.registry(r)
		live.comments(2, r.remarks)
		if body.Len() > 0 {
			some = true
			live.line(2, "%s:\n%s", hostKey(r.key), strings.TrimSuffix(body.String(), "\n"))
		} else if len(r.remarks) > 0 {
			live.line(2, "# %s: nothing to configure", r.key)
		}
	}
	if live.Len() == 0 {
		return
	}
	e.line(0, "")
	if some {
		e.line(0, "registries:")
	} else {
		e.line(0, "# registries:")
	}
	e.WriteString(live.String())
}

// hostKey quotes an IPv6 address, which would be read as a list.
func hostKey(key string) string {
	if strings.HasPrefix(key, "[") {
		return strconv.Quote(key)
	}
	return key
}

func (e *emitter) registry(r *registry) {
	e.field(4, "username", r.username)
	e.field(4, "password", r.password)
	if r.caFile != "" || r.certFile != "" || r.skipVerify {
		e.line(4, "tls:")
		e.field(6, "caFile", r.caFile)
		e.field(6, "certFile", r.certFile)
		e.field(6, "keyFile", r.keyFile)
		e.flag(6, "insecureSkipVerify", r.skipVerify)
	}
	e.flag(4, "plainHTTP", r.plainHTTP)
	e.number(4, "concurrency", r.concurrency)
	if r.resourceID != "" {
		e.line(4, "azure:")
		e.field(6, "resourceID", r.resourceID)
	} else if r.azure {
		e.line(4, "azure: {}")
	}
	if r.keep > 0 || r.perSecond > 0 {
		e.line(4, "rateLimit:")
		e.number(6, "keep", r.keep)
		e.number(6, "requestsPerSecond", r.perSecond)
	}
}

func (e *emitter) mapping(m *mapping) {
	var body emitter
	body.line(2, "- name: %s", scalar(m.name))
	body.keyed(m, "source")
	body.field(4, "source", m.source)
	body.keyed(m, "target")
	if len(m.targets) == 1 {
		body.field(4, "target", m.targets[0])
	} else {
		body.list(4, "targets", m.targets)
	}
	body.keyed(m, "repositories")
	body.list(4, "repositories", m.repositories)
	body.keyed(m, "tags")
	body.tags(4, m.sets)
	body.flag(4, "untagged", m.untagged)
	body.options(4, m.options, m)
	e.comments(2, m.remarks[""])
	if !m.disabled {
		e.WriteString(body.String())
		return
	}
	for line := range strings.Lines(body.String()) {
		e.line(2, "# %s", strings.TrimRight(strings.TrimPrefix(line, "  "), "\n"))
	}
}

// keyed writes the comments that stand before a key.
func (e *emitter) keyed(m *mapping, key string) {
	if m != nil {
		e.comments(4, m.remarks[key])
	}
}

// tags writes sets of which the first alone may choose by include only.
func (e *emitter) tags(indent int, sets []tagSet) {
	switch {
	case len(sets) == 0:
		return
	case len(sets) == 1 && sets[0].simple():
		e.list(indent, "tags", sets[0].chosen())
		return
	}
	e.line(indent, "tags:")
	if len(sets) == 1 {
		e.set(indent+2, sets[0])
		return
	}
	for _, set := range sets {
		if set.simple() {
			for _, entry := range set.chosen() {
				e.line(indent+2, "- %s", scalar(entry))
			}
			continue
		}
		var body emitter
		body.set(indent+4, set)
		e.line(indent+2, "- %s", strings.TrimSpace(body.String()))
	}
}

func (e *emitter) set(indent int, s tagSet) {
	include := s.chosen()
	if len(s.include) == 0 && (s.semver != "" || s.newest != 0) {
		include = nil // every tag is the default then
	}
	e.list(indent, "include", include)
	e.list(indent, "exclude", s.exclude)
	e.field(indent, "semver", s.semver)
	e.number(indent, "newest", s.newest)
}

func (e *emitter) options(indent int, o options, m *mapping) {
	e.list(indent, "immutable", o.immutable)
	e.keyed(m, "platforms")
	e.list(indent, "platforms", o.platforms)
	e.keyed(m, "referrers")
	if len(o.referrers) == 1 && (o.referrers[0] == "true" || o.referrers[0] == "false") {
		e.line(indent, "referrers: %s", o.referrers[0])
	} else {
		e.list(indent, "referrers", o.referrers)
	}
	e.keyed(m, "foreignLayers")
	e.flag(indent, "foreignLayers", o.foreignLayers)
	e.keyed(m, "schedule")
	e.field(indent, "schedule", o.schedule)
	e.field(indent, "timezone", o.timezone)
	e.field(indent, "moved", o.moved)
	e.field(indent, "engine", o.engine)
	e.keyed(m, "other")
}

// plain is what needs no quotes anywhere in YAML, but for the words that are no texts.
var plain = regexp.MustCompile(`^[a-z/][A-Za-z0-9._/-]*(?:[:@][A-Za-z0-9._/-]+)*$`)

// scalar writes a text so that YAML reads a text again.
func scalar(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return strconv.Quote(s)
	}
	if plain.MatchString(s) {
		return s
	}
	if strings.ContainsAny(s, `\"`) && printable(s) == s {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return strconv.QuoteToGraphic(s)
}

// printable makes a text safe for a terminal and for a comment: on one line, without control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
