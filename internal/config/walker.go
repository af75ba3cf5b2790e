package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// walker reads nodes into the types of the grammar and reports mismatches.
type walker struct {
	*report
	file   string
	expand expander
	shapes shapes
	// main is the name of the file that includes this one; empty for that one itself.
	main string
	// joined says that files belong to the config that this one does not name.
	joined bool
}

func (r *report) fail(at origin, err error, hint string) {
	r.add(&Error{Pos: at.pos, Key: at.key, Err: err, Hint: hint})
}

func (w *walker) at(n *yaml.Node, key string) origin {
	return origin{pos: Position{File: w.file, Line: max(n.Line, 1), Col: max(n.Column, 1)}, key: key, set: true}
}

// value reads a node, also through an alias, into a value of the grammar.
func (w *walker) value(target any, n *yaml.Node, key string, tag reflect.StructTag) {
	at := w.at(n, key)
	n = resolve(n)
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		w.fail(at, errors.New("has no value"), "write one, or remove it")
		return
	}
	if d, ok := target.(decoder); ok {
		d.decode(w, n, at, tag)
		return
	}
	w.object(target, n, at, "")
}

// resolve follows an alias to its node.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// scalar reports whether the node is a scalar with one of the YAML tags; if not, it records the mistake.
func (w *walker) scalar(n *yaml.Node, at origin, wanted string, tags ...string) bool {
	if n.Kind == yaml.ScalarNode && slices.Contains(tags, n.ShortTag()) {
		return true
	}
	w.wrong(n, at, wanted)
	return false
}

func (w *walker) wrong(n *yaml.Node, at origin, wanted string) {
	hint := ""
	switch {
	case wanted == ofMappings && n.Kind == yaml.MappingNode:
		hint = `begin each entry with "- "`
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str":
	case wanted == "a list" || strings.HasPrefix(wanted, "a list, or"):
		hint = "write [" + quote(n.Value) + "] for a list of one"
	case strings.Contains(n.Value, "${"):
		hint = "${…} stands for a text only"
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		hint = "the quotes make it a text"
	}
	w.fail(at, fmt.Errorf("must be %s (got %s)", wanted, describe(n)), hint)
}

// describe describes a node for a message.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	default:
	}
	switch n.ShortTag() {
	case "!!str":
		return "the text " + quote(n.Value)
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!null":
		return "nothing"
	case "!!bool":
		return clip(n.Value)
	case "!!timestamp":
		return "the date " + clip(n.Value)
	}
	return "a value with the YAML tag " + clip(n.ShortTag())
}

// extension is the prefix of top-level keys for the user's own purposes, such as anchors.
const extension = "x-"

// included are the keys of an included file.
var included = []string{"version", "defaults", "registries", "receivers", "mappings"}

// object reads a mapping into a struct of the grammar. If the node is not a mapping, the message says what is wanted: by default, the keys.
func (w *walker) object(target any, n *yaml.Node, at origin, wanted string) {
	if n.Kind != yaml.MappingNode {
		if wanted == "" {
			wanted = "a mapping with " + strings.Join(keysOf(reflect.TypeOf(target).Elem()), ", ")
		}
		w.wrong(n, at, wanted)
		return
	}
	pairs, _ := w.pairs(n, at)
	if s, ok := target.(interface{ put(origin) }); ok {
		s.put(at)
	}
	v := reflect.ValueOf(target).Elem()
	present := make(map[string]pair, len(pairs))
	of := w.shapes.of(v.Type())
	for _, p := range pairs {
		present[p.name] = p
		f, known := of.fields[p.name]
		if !known && at.key == "" && strings.HasPrefix(p.name, extension) {
			continue
		}
		if !known {
			w.unknown(p, at, v.Type())
			continue
		}
		if at.key == "" && w.main != "" && !slices.Contains(included, p.name) {
			w.fail(w.at(p.key, p.name), errors.New("cannot be in an included file"), "move it to "+w.main)
			continue
		}
		w.value(v.FieldByIndex(f.Index).Addr().Interface(), p.value, join(at.key, p.name), f.Tag)
	}
	w.company(of.rules, at, present)
}

func hintMissing(key string) string {
	if key == "version" {
		return "write version: 1"
	}
	return ""
}

// company reports keys that other keys require or exclude.
func (w *walker) company(rules []reflect.StructField, at origin, present map[string]pair) {
	has := func(key string) bool { _, ok := present[key]; return ok }
	for _, f := range rules {
		key := f.Tag.Get("yaml")
		if _, required := f.Tag.Lookup("required"); required && !has(key) {
			w.fail(at.below(key), errors.New("is missing"), hintMissing(key))
		}
		if other := f.Tag.Get("requires"); other != "" && has(key) && !has(other) {
			w.fail(w.at(present[key].key, join(at.key, key)), fmt.Errorf("requires %s", other), "")
		}
		if one := split(f.Tag.Get("oneof")); one != nil {
			w.oneOf(one, at, present)
		}
		if some := w.some(f, at); some != nil && !slices.ContainsFunc(some, has) {
			w.fail(at.below(some[0]), errors.New("is missing"), "")
		}
		first := ""
		for _, one := range split(f.Tag.Get("never")) {
			switch {
			case !has(one):
			case first == "":
				first = one
			default:
				w.fail(w.at(present[one].key, join(at.key, one)), fmt.Errorf("cannot be combined with %s", first), "remove one of them")
			}
		}
	}
}

// some returns the keys of which a section needs one; nil for none.
func (w *walker) some(f reflect.StructField, at origin) []string {
	some := split(f.Tag.Get("some"))
	switch {
	case at.key != "" || some == nil:
		return some
	case w.joined:
		return nil
	case w.main == "":
		return some[:2] // registries alone do nothing
	}
	return some
}

func (w *walker) oneOf(keys []string, at origin, present map[string]pair) {
	first, hasFirst := present[keys[0]]
	second, hasSecond := present[keys[1]]
	switch {
	case !hasFirst && !hasSecond:
		w.fail(at.below(keys[0]), errors.New("is missing"), oneHint(keys))
	case hasFirst && hasSecond:
		later := second.key
		key := keys[1]
		if w.at(first.key, "").pos.compare(w.at(later, "").pos) > 0 {
			later, key = first.key, keys[0]
		}
		w.fail(w.at(later, join(at.key, key)), fmt.Errorf("only one of %s and %s can be there", keys[0], keys[1]), bothHint(keys))
	}
}

// plural reports whether the second key is the first for several.
func plural(keys []string) bool { return keys[1] == keys[0]+"s" }

func oneHint(keys []string) string {
	if plural(keys) {
		return fmt.Sprintf("write %s, or %s for several", keys[0], keys[1])
	}
	return fmt.Sprintf("write %s or %s", keys[0], keys[1])
}

func bothHint(keys []string) string {
	if plural(keys) {
		return "put all into " + keys[1]
	}
	return "remove one of them"
}

// below returns the origin of a missing key: that of the section that lacks it.
func (o origin) below(key string) origin {
	o.key = join(o.key, key)
	return o
}

// unique reports texts that occur twice.
func (w *walker) unique(texts []text) {
	first := map[string]int{}
	for i, t := range texts {
		if !t.set {
			continue
		}
		if j, ok := first[t.value]; ok {
			w.fail(t.origin, fmt.Errorf("%s is listed twice, first as entry %d", quote(t.raw), j), "remove one of them")
			continue
		}
		first[t.value] = i
	}
}
