package config

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// generator makes the JSON schema of the grammar's types. It is part of the tests and so not of the program:
// `go generate ./internal/config` runs it.
type generator struct {
	docs map[string]string // comments by struct and field: "document.Version"
	defs object            // shared parts, in the order in which they are first used
	seen map[string]bool
}

// object is a JSON object that keeps its order.
type object []member

type member struct {
	key   string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, v := range []any{m.key, m.value} {
			if j > 0 {
				b.WriteByte(':')
			}
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(v); err != nil {
				return nil, err
			}
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (o object) with(key string, value any) object { return append(o, member{key, value}) }

// generate returns the schema as it is checked in.
func generate(t *testing.T) []byte {
	t.Helper()
	g := &generator{docs: comments(t), seen: map[string]bool{}}
	root := object{
		{"$schema", "http://json-schema.org/draft-07/schema#"},
		{"title", "dray"},
		{"description", "The config file of dray, which keeps container images at targets equal to their sources."},
	}
	root = append(root, g.section(reflect.TypeFor[document]())...)
	root = root.with("allOf", []object{g.tagsWanted(), g.tagWanted(false), g.tagWanted(true)})
	root = root.with("definitions", g.defs)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// comments returns the comments of the grammar's fields.
func comments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "grammar.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		}
		return false
	})
	return docs
}

// section is the schema of a mapping with fixed keys.
func (g *generator) section(t reflect.Type) object {
	s := object{{"type", "object"}, {"additionalProperties", false}}
	var properties, dependencies, all object
	var required []string
	var nevers, ones []object
	for _, f := range fieldsInOrder(t) {
		key := f.Tag.Get("yaml")
		if one := split(f.Tag.Get("oneof")); one != nil {
			ones = append(ones, object{{"oneOf", []object{{{"required", one[:1]}}, {{"required", one[1:]}}}}})
		}
		if some := split(f.Tag.Get("some")); some != nil {
			s = s.with("anyOf", anyRequired(some...))
		}
		never := split(f.Tag.Get("never"))
		for i, one := range never {
			for _, other := range never[i+1:] {
				nevers = append(nevers, object{{"required", []string{one, other}}})
			}
		}
		if key == "" {
			continue
		}
		properties = properties.with(key, g.property(t, f))
		if _, ok := f.Tag.Lookup("required"); ok {
			required = append(required, key)
		}
		if other := f.Tag.Get("requires"); other != "" {
			dependencies = dependencies.with(key, []string{other})
		}
	}
	switch len(ones) {
	case 0:
	case 1:
		s = append(s, ones[0]...)
	default:
		s = s.with("allOf", ones)
	}
	s = s.with("properties", properties)
	if t == reflect.TypeFor[document]() {
		s = s.with("patternProperties", object{{"^" + extension, object{}}})
	}
	if required != nil {
		s = s.with("required", required)
	}
	if dependencies != nil {
		s = s.with("dependencies", dependencies)
	}
	switch len(nevers) {
	case 0:
	case 1:
		all = all.with("not", nevers[0])
	default:
		all = all.with("not", object{{"anyOf", nevers}})
	}
	s = append(s, all...)
	if t == reflect.TypeFor[mappingSection]() {
		s = append(s, g.sourceDecides()...)
	}
	return s
}

// fieldsInOrder is reflect.VisibleFields without the embedded structs themselves.
func fieldsInOrder(t reflect.Type) []reflect.StructField {
	var fields []reflect.StructField
	for _, f := range reflect.VisibleFields(t) {
		if !f.Anonymous {
			fields = append(fields, f)
		}
	}
	return fields
}

// property is the schema of a key: its description, what it may be, its default and examples.
func (g *generator) property(owner reflect.Type, f reflect.StructField) object {
	name := owner.Name()
	if len(f.Index) > 1 {
		name = owner.Field(f.Index[0]).Type.Name()
	}
	s := object{}
	if doc := g.docs[name+"."+f.Name]; doc != "" {
		s = s.with("description", doc)
	}
	value := g.value(f.Type, f.Tag)
	if value[0].key == "$ref" {
		value = object{{"allOf", []object{value}}} // draft-07 ignores what stands beside a $ref
	}
	s = append(s, value...)
	if d, ok := f.Tag.Lookup("default"); ok {
		s = s.with("default", literal(f.Type, d))
	}
	if examples := split(f.Tag.Get("example")); examples != nil {
		all := []any{}
		for _, e := range examples {
			all = append(all, literal(f.Type, e))
		}
		if !isScalar(f.Type) && f.Type != reflect.TypeFor[tagsSection]() {
			all = []any{all}
		}
		s = s.with("examples", all)
	}
	return s
}

func isScalar(t reflect.Type) bool {
	return t == reflect.TypeFor[text]() || t == reflect.TypeFor[number]() || t == reflect.TypeFor[toggle]()
}

// literal is a default or an example in JSON.
func literal(t reflect.Type, s string) any {
	if n, err := strconv.Atoi(s); err == nil && t == reflect.TypeFor[number]() {
		return n
	}
	if b, err := strconv.ParseBool(s); err == nil && t != reflect.TypeFor[text]() {
		return b
	}
	return s
}

func (g *generator) value(t reflect.Type, tag reflect.StructTag) object {
	switch t {
	case reflect.TypeFor[text]():
		return g.text(tag)
	case reflect.TypeFor[number]():
		return whole(tag)
	case reflect.TypeFor[toggle]():
		return object{{"type", "boolean"}}
	case reflect.TypeFor[list[text]]():
		return items(tag, g.text(tag))
	case reflect.TypeFor[referrersSection]():
		return object{{"anyOf", []object{{{"type", "boolean"}}, items(tag, g.text(tag))}}}
	case reflect.TypeFor[tagsSection]():
		return g.shared("tags", func() object {
			include, _ := t.FieldByName("Include")
			chosen := g.section(t).with("anyOf", anyRequired("include", "semver", "suffix", "newest"))
			set := g.shared("tagSet", func() object { return chosen })
			return object{{"anyOf", []object{items(include.Tag, object{{"anyOf", []object{g.text(include.Tag), set}}}), set}}}
		})
	case reflect.TypeFor[platformsSection]():
		want, _ := t.FieldByName("Want")
		return g.shared("platforms", func() object {
			return object{{"anyOf", []object{items(want.Tag, g.text(want.Tag)), g.section(t)}}}
		})
	case reflect.TypeFor[imagesFromSection]():
		files, _ := t.FieldByName("Files")
		return object{{"anyOf", []object{items(files.Tag, g.text(files.Tag)), g.section(t)}}}
	case reflect.TypeFor[cloudSection]():
		return object{{"anyOf", []object{g.text(`enum:"public|china|usgov"`), g.section(t)}}}
	case reflect.TypeFor[createRepositoriesSection]():
		return object{{"anyOf", []object{{{"type", "boolean"}}, g.section(t)}}}
	case reflect.TypeFor[dict[registrySection]]():
		return g.registries()
	}
	if inner, suffix := sectionType(t); suffix == ".NAME" {
		return object{{"type", "object"}, {"additionalProperties", false}, {"patternProperties", object{{patterns["policyName"], g.section(inner)}}}}
	}
	if inner, suffix := sectionType(t); suffix == "[]" {
		name := strings.TrimSuffix(inner.Name(), "Section")
		return items(tag, g.shared(name, func() object { return g.section(inner) }))
	}
	return g.section(t)
}

func anyRequired(keys ...string) []object {
	var all []object
	for _, k := range keys {
		all = append(all, object{{"required", []string{k}}})
	}
	return all
}

// shared returns a reference to a definition, which is made once.
func (g *generator) shared(name string, make func() object) object {
	if !g.seen[name] {
		g.seen[name] = true
		g.defs = g.defs.with(name, make())
	}
	return object{{"$ref", "#/definitions/" + name}}
}

func whole(tag reflect.StructTag) object {
	s := object{{"type", "integer"}}
	for _, b := range [][2]string{{"min", "minimum"}, {"max", "maximum"}} {
		if n, err := strconv.Atoi(tag.Get(b[0])); err == nil {
			s = s.with(b[1], n)
		}
	}
	return s
}

func items(tag reflect.StructTag, of object) object {
	s := object{{"type", "array"}, {"items", of}}
	if n, err := strconv.Atoi(tag.Get("minItems")); err == nil {
		s = s.with("minItems", n)
	}
	if _, ok := tag.Lookup("unique"); ok {
		s = s.with("uniqueItems", true)
	}
	return s
}

// text is the schema of a string, which may be written as a number or as true where its pattern can match that, and
// which may come from elsewhere.
func (g *generator) text(tag reflect.StructTag) object {
	elsewhere := g.shared("expansion", func() object {
		return object{{"description", "A text with ${env:NAME} or ${file:PATH} in it."}, {"type", "string"}, {"pattern", patterns["expansion"]}}
	})
	if enum := split(tag.Get("enum")); enum != nil {
		return object{{"anyOf", []object{{{"enum", enum}}, elsewhere}}}
	}
	format := tag.Get("format")
	if format == "" {
		return g.shared("text", func() object {
			return object{{"type", scalars}, {"pattern", patterns["text"]}, {"minLength", 1}}
		})
	}
	return g.shared(format, func() object {
		written := object{{"type", scalars}, {"pattern", patterns[format]}}
		switch format {
		case "duration":
			written = object{{"type", "string"}, {"pattern", patterns[format]}, {"not", object{{"pattern", patterns["zero"]}}}}
		case "platform", "artifact":
			written = object{{"type", "string"}, {"pattern", patterns[format]}}
		case "tag":
			written = written.with("minimum", 0).with("not", object{{"type", "string"}, {"pattern", patterns["noTag"]}})
		case "keep":
			written = object{{"anyOf", []object{{{"type", "string"}, {"pattern", patterns[format]}}, {{"type", "integer"}, {"minimum", 0}, {"maximum", 999_999}}}}}
		case "range":
			written = written.with("minimum", 0)
		case "span":
			return object{{"anyOf", []object{{{"type", "string"}, {"pattern", patterns[format]}}, {{"enum", []int{0}}}, elsewhere}}}
		case "webhook", "listen", "schedule", "ledger", "bandwidth", "clock", "days", "retag":
			written = object{{"type", "string"}, {"pattern", patterns[format]}}
		}
		all := []object{written, elsewhere}
		if _, ok := tag.Lookup("empty"); ok {
			all = append(all, object{{"enum", []string{""}}})
		}
		return object{{"anyOf", all}}
	})
}

// registries has two kinds of entries: those of a host, and those of a path at one, which cannot have all keys.
func (g *generator) registries() object {
	t := reflect.TypeFor[registrySection]()
	host := g.section(t)
	var never []string
	for _, f := range reflect.VisibleFields(t) {
		if _, ok := f.Tag.Lookup("host"); ok {
			never = append(never, f.Tag.Get("yaml"))
		}
	}
	below := object{{"allOf", []object{
		g.shared("registry", func() object { return host }),
		{{"not", object{{"anyOf", anyRequired(never...)}}}},
	}}}
	return object{
		{"type", "object"},
		{"additionalProperties", false},
		{"patternProperties", object{
			{patterns["registry"], object{{"$ref", "#/definitions/registry"}}},
			{patterns["registryPath"], below},
		}},
	}
}

// sourceDecides says what the source's form asks of the other keys.
func (g *generator) sourceDecides() object {
	when := func(form string, with ...string) object {
		return object{
			{"properties", object{{"source", g.form(form)}}},
			{"required", append([]string{"source"}, with...)},
		}
	}
	prefixes := append(g.targets("prefix"), member{"allOf", []object{when("prefix")}})
	return object{{"allOf", []object{
		{
			{"$comment", "A source without tag and digest: the targets have none."},
			{"if", when("plain")},
			{"then", g.targets("plain")},
		},
		{
			{"$comment", "A source with tag or digest: there is nothing to choose."},
			{"if", when("single")},
			{"then", object{{"not", object{{"anyOf", anyRequired("tags", "repositories")}}}}},
		},
		{
			{"$comment", "With repositories, source and targets are prefixes."},
			{"if", when("plain", "repositories")},
			{"then", prefixes},
		},
		{
			{"$comment", "With images, targets are prefixes, and there is nothing to choose."},
			{"if", object{{"anyOf", anyRequired("images", "imagesFrom")}}},
			{"then", append(g.targets("prefix"), member{"not", object{{"anyOf", anyRequired("tags", "repositories")}}})},
		},
	}}}
}

// targets is the schema of a mapping whose targets have one form.
func (g *generator) targets(form string) object {
	each := object{{"anyOf", []object{g.form(form), {{"$ref", "#/definitions/expansion"}}, g.form("template")}}}
	return object{{"properties", object{{"target", each}, {"targets", object{{"items", each}}}}}}
}

// tagWanted says that a source with a digest only needs a tag at its targets, unless it may arrive without: beside defaults that say so,
// or none.
func (g *generator) tagWanted(byDefault bool) object {
	says := func(value bool) object {
		return object{{"properties", object{{"untagged", object{{"const", value}}}}}, {"required", []string{"untagged"}}}
	}
	untagged := object{{"properties", object{{"defaults", says(true)}}}, {"required", []string{"defaults"}}}
	wanted := object{{"not", says(true)}}
	if byDefault {
		wanted = says(false)
	} else {
		untagged = object{{"not", untagged}}
	}
	pinned := object{{"properties", object{{"source", g.form("pinned")}}}, {"required", []string{"source"}}}
	return object{
		{"if", untagged},
		{"then", object{{"properties", object{{"mappings", object{{"items", object{
			{"if", object{{"allOf", []object{pinned, wanted}}}},
			{"then", g.targets("tagged")},
		}}}}}}}},
	}
}

// form is the schema of one kind of reference. The number 5 names a repository; nothing with a tag is a number.
func (g *generator) form(name string) object {
	return g.shared(name, func() object {
		if name == "plain" || name == "prefix" {
			return object{{"type", scalars}, {"pattern", patterns[name]}}
		}
		return object{{"type", "string"}, {"pattern", patterns[name]}}
	})
}

// scalars are the types that JSON knows and that a text can be written as.
var scalars = []string{"string", "number", "boolean"}

// tagsWanted says that without default tags each repository needs its own.
func (g *generator) tagsWanted() object {
	repository := object{
		{"properties", object{{"source", g.form("plain")}}},
		{"required", []string{"source"}},
	}
	return object{
		{"if", object{{"not", object{
			{"properties", object{{"defaults", object{{"required", []string{"tags"}}}}}},
			{"required", []string{"defaults"}},
		}}}},
		{"then", object{{"properties", object{{"mappings", object{{"items", object{
			{"if", repository},
			{"then", object{{"required", []string{"tags"}}}},
		}}}}}}}},
	}
}

// The patterns are the grammar of the parsers as near as a regular expression can be, in what RE2 and ECMA-262 have in
// common.
var patterns = func() map[string]string {
	const (
		label   = `[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?`
		letter  = `(?:[a-zA-Z0-9]|[^\x00-\x7f])` // that of an international name
		named   = letter + `(?:(?:` + letter + `|-)*` + letter + `)?`
		port    = `:0*[1-9][0-9]{0,4}`
		host    = `(?:[lL][oO][cC][aA][lL][hH][oO][sS][tT](?:` + port + `)?|` + named + `(?:(?:\.` + named + `)+\.?|\.)(?:` + port + `)?|` + named + port + `|\[[a-fA-F0-9:.]+\](?:` + port + `)?)`
		word    = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
		dotless = `[a-z0-9]+(?:(?:_|__|-+)[a-z0-9]+)*`
		words   = word + `(?:/` + word + `)*`
		layout  = `ocidir://(?:[^\n]*/[^/:@\n]*|[^/:@\n]+)`
		name    = `(?:` + host + `/` + words + `|` + dotless + `(?:/` + words + `)?|` + layout + `)`
		prefix  = `(?:` + host + `/` + words + `|` + dotless + `(?:/` + words + `)?|` + layout + `)`
		tag     = `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
		digest  = `(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128})`

		class   = `\[!?[a-zA-Z0-9._-]+\]`
		special = `(?:[*?{},]|` + class + `)` // that braces match, however deep, is beyond a regular expression
		glob    = `(?:[a-zA-Z0-9_][a-zA-Z0-9._-]*)?` + special + `(?:[a-zA-Z0-9._-]|` + special + `)*`

		number  = `(?:[0-9]+|[xX*])`
		idents  = `[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*`
		version = `v?` + number + `(?:\.` + number + `){0,2}(?:-` + idents + `)?(?:\+` + idents + `)?`
		term    = `(?:(?:=|!=|<|>|<=|>=|=<|=>|~|~>|\^)\s*)?` + version + `(?:\s+-\s+` + version + `)?`
		terms   = `\s*` + term + `(?:(?:\s*,\s*|\s+)` + term + `)*\s*`

		part  = `[a-z0-9][a-z0-9._-]*`
		media = `[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*`

		address = `(?:` + label + `(?:\.` + label + `)*|\[[a-fA-F0-9:.]+(?:%[^\]]+)?\])?:[0-9]{1,5}`
		cron    = `[0-9A-Za-z*/,?-]+`
		blank   = `[^!-~]` // whatever Unicode has for it

		unit      = `[^$]|\$+[^${]|\$\$+\{`
		reference = `\$\{(?:env:|file:(?:\$CREDENTIALS_DIRECTORY/)?)[^}$]+\}`
	)
	whole := func(p string) string { return "^(?:" + p + ")$" }
	return map[string]string{
		"reference":      whole(name + `(?::` + tag + `)?(?:@` + digest + `)?`),
		"target":         whole(name + `(?::` + tag + `)?|[^\n]*\{\{\s*\.(?:Registry|Repository)\s*\}\}[^\n]*`),
		"plain":          whole(name),
		"oneRepository":  whole(name),
		"prefix":         whole(prefix),
		"single":         whole(name + `(?::` + tag + `(?:@` + digest + `)?|@` + digest + `)`),
		"pinned":         whole(name + `@` + digest),
		"tagged":         whole(name + `:` + tag),
		"name":           whole(`[A-Za-z0-9._/-]{1,128}`),
		"template":       `^[^\n]*\{\{\s*\.(?:Registry|Repository)\s*\}\}[^\n]*$`,
		"repository":     whole(`!?(?:` + words + `|(?:` + globPart + `/)*[a-z0-9._-]*(?:[*?]|` + globClass + `)(?:` + globPart + `)?(?:/` + globPart + `)*)`),
		"platform":       whole(part + `/` + part + `(?:/` + part + `)?\??`),
		"artifact":       whole(media + `/` + media),
		"duration":       whole(`\+?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+`),
		"retag":          whole(`(?:[a-zA-Z0-9_][a-zA-Z0-9._-]*)?\{\{\s*\.Tag\s*\}\}[a-zA-Z0-9._-]*`),
		"days":           whole(`(?:mon|tue|wed|thu|fri|sat|sun)(?:-(?:mon|tue|wed|thu|fri|sat|sun))?`),
		"clock":          whole(`(?:[01]?[0-9]|2[0-3]):[0-5][0-9]|24:00`),
		"bandwidth":      whole(`[0-9]{1,12}(?:\.[0-9]{1,6})?(?:B|kB|MB|GB|KiB|MiB|GiB)/s`),
		"keep":           whole(`0*[0-9]{1,6}|0*(?:[0-9]|[1-8][0-9]|90)%`),
		"zero":           `^[^1-9]*$`,
		"span":           whole(`\+?(?:0|(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)`),
		"schedule":       whole(blank + `*(?:@every` + blank + `+\S+|@[a-z]+|` + cron + `(?:` + blank + `+` + cron + `){4})` + blank + `*`),
		"timezone":       zoneName.String(),
		"listen":         whole(address + `|unix:/(?:[^\n]*[^\n/])`),
		"token":          whole(`[!-~]{16,512}`),
		"ledger":         whole(`[pP][oO][sS][tT][gG][rR][eE][sS](?:[qQ][lL])?:.*`),
		"replica":        whole(`[A-Za-z0-9][A-Za-z0-9._-]{0,252}`),
		"webhook":        whole(`[hH][tT][tT][pP][sS]?://[^/?# ][^#]*#?`),
		"receiverName":   whole(`[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?`),
		"noTag":          `^(?:[^/}][^}]*)?\{[^}]*$|^[^/{][^{]*,`, // a brace without its other, a comma outside of braces
		"tag":            whole(tag + `|/[^\n]+/|` + glob),
		"range":          whole(terms + `(?:\|\|` + terms + `)*`),
		"suffix":         whole(`[a-zA-Z0-9._-]{1,127}`),
		"registry":       whole(host),
		"registryHost":   whole(host),
		"mirror":         whole(host + `(?:/` + words + `)?`),
		"mirrorOf":       whole(host + `=(?:` + words + `)?`),
		"helper":         whole(`[A-Za-z0-9][A-Za-z0-9._-]{0,127}`),
		"resource":       whole(`/[sS][uU][bB][sS][cC][rR][iI][pP][tT][iI][oO][nN][sS]/[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}/[^\n]+/[a-zA-Z0-9]{5,50}`),
		"role":           whole(`arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,576}`),
		"serviceAccount": whole(`[a-z0-9][a-z0-9._-]{0,63}@[a-z0-9-]+(?:\.[a-z0-9-]+)+`),
		"robot":          whole(`[a-z0-9][a-z0-9._-]{0,254}\+[a-z0-9][a-z0-9_.-]{0,254}`),
		"keyValue":       whole(`[^=\n]{1,128}=[^\n]{0,256}`),
		"encryption":     whole(`AES256|KMS|KMS_DSSE|arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_-]{1,256}`),
		"url":            whole(`https://[^/?#\s@]+/?`),
		"suffixHost":     whole(`[a-z0-9-]+(?:\.[a-z0-9-]+)+`),
		"registryPath":   whole(host + `/` + words),
		"expansion":      whole(`(?:` + unit + `)*` + reference + `(?:` + unit + `|` + reference + `)*\$*`),
		"text":           whole(`(?:` + unit + `|` + reference + `)*\$*`),
	}
}()
