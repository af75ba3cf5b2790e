package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// origin is the position of a value in the file. The zero origin is that of a missing value.
type origin struct {
	pos Position
	key string
	set bool
}

func (o *origin) put(at origin) { *o = at }
func (o origin) where() origin  { return o }

// decoder is a value that reads itself from a node that is neither an alias nor null.
type decoder interface {
	decode(w *walker, n *yaml.Node, at origin, tag reflect.StructTag)
}

// text is a string. Scalars of other kinds keep their spelling: 1.10 is "1.10".
type text struct {
	origin
	raw   string // as written
	value string // expanded
}

// broken reports whether the text is present but could not be read, which has been reported.
func (t text) broken() bool { return !t.set && t.pos != Position{} }

// expanded reports whether the value came from a variable or another file and must not be shown.
func (t text) expanded() bool { return t.raw != t.value }

func (t *text) decode(w *walker, n *yaml.Node, at origin, tag reflect.StructTag) {
	t.pos = at.pos // also if it cannot be read
	if !w.scalar(n, at, "a text", "!!str", "!!int", "!!float", "!!bool", "!!timestamp") {
		return
	}
	value, err := w.expand.text(n.Value)
	if err != nil {
		w.fail(at, err, "")
		return
	}
	read := text{origin: at, raw: n.Value, value: value}
	if w.expand.noSecrets && read.expanded() {
		w.doubt(&read, tag)
		*t = read
		return
	}
	if _, ok := tag.Lookup("empty"); ok && n.Value == "" {
		*t = read
		return
	}
	if value == "" {
		empty := errors.New("is empty")
		if read.expanded() {
			empty = fmt.Errorf("is empty, as %s expands to nothing", quote(read.raw))
		}
		w.fail(at, empty, "write a value, or remove it")
		return
	}
	if enum := split(tag.Get("enum")); enum != nil && !slices.Contains(enum, value) {
		w.fail(at, fmt.Errorf("%s is not one of %s", quote(n.Value), strings.Join(enum, ", ")), nearest(n.Value, enum))
		return
	}
	*t = read
}

// doubt sets a text with an unknown value to a possible one.
func (w *walker) doubt(t *text, tag reflect.StructTag) {
	if w.unsure == nil {
		w.unsure = map[Position]bool{}
	}
	w.unsure[t.pos] = true
	switch format := tag.Get("format"); {
	case tag.Get("enum") != "":
		t.value = split(tag.Get("enum"))[0]
	case (format == "reference" || format == "target") && strings.HasPrefix(t.raw, "${"):
		host, path, found := strings.Cut(t.value, "/")
		if !found {
			path = host
		}
		t.value = host + ".example/" + path
	}
}

// preset sets the default.
func (t *text) preset(value string) { t.raw, t.value = value, value }

// number is a whole number.
type number struct {
	origin
	value int
}

func (v *number) decode(w *walker, n *yaml.Node, at origin, tag reflect.StructTag) {
	if !w.scalar(n, at, "a whole number", "!!int", "!!float") {
		return
	}
	var f float64
	if err := n.Decode(&f); err != nil || f != math.Trunc(f) || math.IsInf(f, 0) {
		w.fail(at, fmt.Errorf("must be a whole number (got %s)", clip(n.Value)), "")
		return
	}
	low, high := bound(tag, "min", math.MinInt32), bound(tag, "max", math.MaxInt32)
	if at.key == "version" && f != float64(high) {
		w.fail(at, fmt.Errorf("is %s: %w", clip(n.Value), errVersion), "")
		return
	}
	if f < float64(low) || f > float64(high) {
		limits := fmt.Sprintf("between %d and %d", low, high)
		if high == math.MaxInt32 {
			limits = fmt.Sprintf("at least %d", low)
		}
		w.fail(at, fmt.Errorf("must be %s (got %s)", limits, clip(n.Value)), "")
		return
	}
	*v = number{origin: at, value: int(f)}
}

func (v *number) preset(value string) { v.value, _ = strconv.Atoi(value) }

func bound(tag reflect.StructTag, name string, otherwise int) int {
	if n, err := strconv.Atoi(tag.Get(name)); err == nil {
		return n
	}
	return otherwise
}

// toggle is true or false.
type toggle struct {
	origin
	value bool
}

func (v *toggle) decode(w *walker, n *yaml.Node, at origin, _ reflect.StructTag) {
	if w.scalar(n, at, "true or false", "!!bool") {
		*v = toggle{origin: at, value: strings.EqualFold(n.Value, "true")}
	}
}

func (v *toggle) preset(value string) { v.value = value == "true" }

// list is a sequence. A wrong entry is reported and left as its zero value.
type list[T any] struct {
	origin
	items []T
}

func (l *list[T]) decode(w *walker, n *yaml.Node, at origin, tag reflect.StructTag) {
	wanted := ofMappings
	if _, ok := any(l).(*list[text]); ok {
		wanted = "a list"
	}
	if !w.sequence(n, at, tag, wanted) {
		return
	}
	l.origin = at
	l.items = make([]T, len(n.Content))
	for i, c := range n.Content {
		if w.full() {
			w.dropped++
			return
		}
		w.value(&l.items[i], c, at.entry(i), tag)
	}
	if _, ok := tag.Lookup("unique"); ok {
		w.unique(l.texts())
	}
}

// ofMappings is what a list of sections wants to be.
const ofMappings = "a list of mappings"

// sequence reports whether the node is a list with enough entries; if not, it records the mistake.
func (w *walker) sequence(n *yaml.Node, at origin, tag reflect.StructTag, wanted string) bool {
	if n.Kind != yaml.SequenceNode {
		w.wrong(n, at, wanted)
		return false
	}
	if len(n.Content) < bound(tag, "minItems", 0) {
		w.fail(at, errors.New("is empty"), emptyList(at.key))
		return false
	}
	return true
}

// entry is the path of an entry of a list.
func (o origin) entry(i int) string { return o.key + "[" + strconv.Itoa(i) + "]" }

func emptyList(key string) string {
	if key == "mappings" {
		return "write at least one entry with source and target"
	}
	return "write at least one entry, or remove the key"
}

// texts returns the entries of a list of texts; nil for another list.
func (l *list[T]) texts() []text {
	texts, _ := any(l.items).([]text)
	return texts
}

// values returns the expanded texts of a list.
func values(l list[text]) []string {
	var all []string
	for _, t := range l.items {
		all = append(all, t.value)
	}
	return all
}

// series is a list of sections that are read one at a time, on demand, since there may be very many.
type series[T any] struct {
	origin
	item   T // the current one
	walker *walker
	node   *yaml.Node
	tag    reflect.StructTag
}

func (s *series[T]) decode(w *walker, n *yaml.Node, at origin, tag reflect.StructTag) {
	if w.sequence(n, at, tag, ofMappings) {
		s.origin, s.walker, s.node, s.tag = at, w, n, tag
	}
}

// len returns the number of sections.
func (s *series[T]) len() int {
	if s.node == nil {
		return 0
	}
	return len(s.node.Content)
}

// each reads the sections and passes on those that are present. It may be called only once. A section with mistakes has been reported, and
// may lack any field. f must not keep the pointer. each frees the nodes that it has read, since the nodes of a file take many times its size.
func (s *series[T]) each(use func(*T)) {
	for i := range s.len() {
		if s.walker.full() {
			s.walker.dropped++
			return
		}
		var none T
		s.item = none
		s.walker.value(&s.item, s.node.Content[i], s.entry(i), s.tag)
		if at, ok := any(&s.item).(interface{ where() origin }); ok && at.where().set {
			use(&s.item)
		}
		if s.node.Anchor == "" { // an alias may refer to an anchored list
			s.node.Content[i] = nil
		}
	}
}

// dict is a mapping whose keys the user chooses.
type dict[T any] struct {
	origin
	entries []entry[T]
}

type entry[T any] struct {
	name  string
	keyAt origin
	value T
}

func (d *dict[T]) decode(w *walker, n *yaml.Node, at origin, tag reflect.StructTag) {
	pairs, ok := w.pairs(n, at)
	if !ok {
		return
	}
	d.origin = at
	for _, p := range pairs {
		if w.full() {
			w.dropped++
			return
		}
		key := join(at.key, clip(p.name))
		e := entry[T]{name: p.name, keyAt: w.at(p.key, key)}
		w.value(&e.value, p.value, key, tag)
		d.entries = append(d.entries, e)
	}
}

func (t *tagsSection) decode(w *walker, n *yaml.Node, at origin, _ reflect.StructTag) {
	if n.Kind != yaml.SequenceNode {
		w.object(t, n, at, "a list, or a mapping with "+strings.Join(keysOf(reflect.TypeFor[tagsSection]()), ", "))
		return
	}
	t.origin = at
	tag := w.shapes.of(reflect.TypeFor[tagsSection]()).fields["include"].Tag
	if !slices.ContainsFunc(n.Content, isMapping) {
		t.Include.decode(w, n, at, tag)
		return
	}
	for i, c := range n.Content {
		if w.full() {
			w.dropped++
			return
		}
		if isMapping(c) {
			t.sets = append(t.sets, tagsSection{})
			w.object(&t.sets[len(t.sets)-1], resolve(c), w.at(c, at.entry(i)), "")
			continue
		}
		t.Include.origin = at
		t.Include.items = append(t.Include.items, text{})
		w.value(&t.Include.items[len(t.Include.items)-1], c, at.entry(i), tag)
	}
}

func (p *platformsSection) decode(w *walker, n *yaml.Node, at origin, _ reflect.StructTag) {
	if n.Kind != yaml.SequenceNode {
		w.object(p, n, at, "a list, or a mapping with want, missing")
		return
	}
	p.origin = at
	p.Want.decode(w, n, at, w.shapes.of(reflect.TypeFor[platformsSection]()).fields["want"].Tag)
}

func (s *imagesFromSection) decode(w *walker, n *yaml.Node, at origin, _ reflect.StructTag) {
	if n.Kind != yaml.SequenceNode {
		w.object(s, n, at, "a list, or a mapping with files, paths")
		return
	}
	s.origin = at
	s.Files.decode(w, n, at, w.shapes.of(reflect.TypeFor[imagesFromSection]()).fields["files"].Tag)
}

func isMapping(n *yaml.Node) bool { return resolve(n).Kind == yaml.MappingNode }

// referrersSection is true, false, or a list of artifact types.
type referrersSection struct {
	origin
	all   bool
	types list[text]
}

func (r *referrersSection) decode(w *walker, n *yaml.Node, at origin, tag reflect.StructTag) {
	const wanted = "true, false, or a list of artifact types"
	if n.Kind == yaml.SequenceNode {
		if len(n.Content) == 0 {
			w.fail(at, errors.New("is empty"), "write false to leave all referrers behind")
			return
		}
		r.types.decode(w, n, at, tag)
		r.origin = r.types.origin
		return
	}
	if w.scalar(n, at, wanted, "!!bool") {
		r.origin, r.all = at, strings.EqualFold(n.Value, "true")
	}
}

func (r *referrersSection) preset(value string) { r.all = value == "true" }

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

func join(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}
