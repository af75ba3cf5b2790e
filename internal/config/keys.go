package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/spelling"
)

// shape is the reflected structure of a struct of the grammar. It is cached, since reflection takes longer than reading.
type shape struct {
	fields map[string]reflect.StructField // by key
	rules  []reflect.StructField          // fields with rules about other keys
}

// shapes caches the shapes of one reading, by type.
type shapes map[reflect.Type]shape

func (s shapes) of(t reflect.Type) shape {
	known, ok := s[t]
	if ok {
		return known
	}
	known.fields = map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(t) {
		if key := f.Tag.Get("yaml"); key != "" {
			known.fields[key] = f
		}
		for _, rule := range []string{"required", "requires", "oneof", "some", "never"} {
			if _, ok := f.Tag.Lookup(rule); ok {
				known.rules = append(known.rules, f)
				break
			}
		}
	}
	s[t] = known
	return known
}

// keysOf returns the keys of a struct of the grammar in order.
func keysOf(t reflect.Type) []string {
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for _, f := range reflect.VisibleFields(t) {
		if key := f.Tag.Get("yaml"); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// section is a struct of the grammar with its path, such as "mappings[].tags".
type section struct {
	path string
	t    reflect.Type
}

// sections returns the structs of the grammar, outer ones first.
func sections() []section {
	all := []section{{path: "", t: reflect.TypeFor[document]()}}
	for i := 0; i < len(all); i++ {
		for _, f := range reflect.VisibleFields(all[i].t) {
			key := f.Tag.Get("yaml")
			if key == "" {
				continue
			}
			if t, suffix := sectionType(f.Type); t != nil {
				all = append(all, section{path: join(all[i].path, key+suffix), t: t})
			}
		}
	}
	return all
}

// sectionType returns the struct of the grammar that a field's value is or contains, and its notation in a path.
func sectionType(t reflect.Type) (reflect.Type, string) {
	if len(keysOf(t)) > 0 {
		return t, ""
	}
	if f, ok := t.FieldByName("item"); ok {
		return f.Type, "[]"
	}
	if f, ok := t.FieldByName("items"); ok && len(keysOf(f.Type.Elem())) > 0 {
		return f.Type.Elem(), "[]"
	}
	if f, ok := t.FieldByName("entries"); ok {
		value, _ := f.Type.Elem().FieldByName("value")
		if value.Type == reflect.TypeFor[policySection]() {
			return value.Type, ".NAME"
		}
		return value.Type, ".HOST"
	}
	return nil, ""
}

// unknown reports a key that the section does not have, with a suggestion.
func (w *walker) unknown(p pair, at origin, t reflect.Type) {
	if w.full() {
		w.dropped++
		return
	}
	hint := nearest(p.name, keysOf(t))
	if place, ok := elsewhere(p.name, at.key); ok {
		hint = "it belongs " + place
	}
	if hint == "" {
		hint = "valid keys: " + strings.Join(keysOf(t), ", ")
	}
	w.fail(w.at(p.key, join(at.key, clip(p.name))), errors.New("unknown key"), hint)
}

// elsewhere returns where in a file a key belongs, if anywhere; of several places, the one closest to where it was found.
func elsewhere(key, found string) (string, bool) {
	best, closest := "", -1
	for _, s := range sections() {
		if !slices.Contains(keysOf(s.t), key) {
			continue
		}
		if n := common(s.path, found); n > closest {
			best, closest = s.path, n
		}
	}
	if closest < 0 {
		return "", false
	}
	if best == "" {
		return "at the top of the file", true
	}
	return "in " + best, true
}

func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// nearest returns the hint for a misspelt word; empty if no known word is similar.
func nearest(word string, known []string) string {
	for _, name := range spelling.Nearest(word, known, 1) {
		return fmt.Sprintf("did you mean %q?", name)
	}
	return ""
}
