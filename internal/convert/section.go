package convert

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

const (
	// maxMerge bounds how deep `<<` may refer to what has one itself.
	maxMerge = 16
	// maxEntries bounds what is read of one file, aliases counted each time that they are used.
	maxEntries = 200_000
)

// reader collects what is wrong with one file.
type reader struct {
	file    string
	errs    Errors
	entries int
}

// fail reports a mistake. It goes on, so that all of them are told at once.
func (r *reader) fail(at value, hint, format string, args ...any) {
	r.errs = append(r.errs, &Error{File: r.file, Line: at.line(), Key: at.key, Err: fmt.Errorf(format, args...), Hint: hint})
}

// count tells whether one more entry may be read.
func (r *reader) count(at value) bool {
	r.entries++
	if r.entries == maxEntries {
		r.fail(at, "split the file", "the file has more than %d entries", maxEntries)
	}
	return r.entries < maxEntries
}

// value is one value of a file with its place. One that is not there has no node and reads as empty.
type value struct {
	r    *reader
	key  string
	node *yaml.Node
}

func (v value) line() int {
	if v.node == nil {
		return 0
	}
	return v.node.Line
}

// set tells whether there is something other than null.
func (v value) set() bool { return v.node != nil && v.node.ShortTag() != "!!null" }

// resolved follows an alias. The target of one is never an alias itself.
func resolved(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (v value) kind() string {
	switch {
	case !v.set():
		return "nothing"
	case v.node.Kind == yaml.MappingNode:
		return "a mapping"
	case v.node.Kind == yaml.SequenceNode:
		return "a list"
	}
	return "a text"
}

// text returns a scalar as it is written.
func (v value) text() string {
	if !v.set() {
		return ""
	}
	if v.node.Kind != yaml.ScalarNode {
		v.r.fail(v, "", "is %s, not a string", v.kind())
		return ""
	}
	return v.node.Value
}

func (v value) boolean() bool {
	text := v.text()
	if text == "" {
		return false
	}
	b, err := strconv.ParseBool(strings.ToLower(text))
	if err != nil {
		v.r.fail(v, "write true or false", "is neither true nor false")
	}
	return b
}

func (v value) integer() int {
	text := v.text()
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 0, 32)
	if err != nil {
		v.r.fail(v, "write a whole number", "is not a whole number")
	}
	return int(n)
}

func (v value) duration() time.Duration {
	text := v.text()
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		v.r.fail(v, "write a duration such as 90m", "is not a duration")
	}
	return d
}

// list returns the entries of a list; a single text stands for a list of it.
func (v value) list() []value {
	switch {
	case !v.set():
		return nil
	case v.node.Kind == yaml.ScalarNode:
		return []value{v}
	case v.node.Kind == yaml.MappingNode:
		v.r.fail(v, "start each entry with a hyphen", "is a mapping, not a list")
		return nil
	}
	var entries []value
	for i, n := range v.node.Content {
		entry := value{v.r, fmt.Sprintf("%s[%d]", v.key, i), resolved(n)}
		if !v.r.count(entry) {
			return nil
		}
		entries = append(entries, entry)
	}
	return entries
}

func (v value) texts() []string {
	var texts []string
	for _, entry := range v.list() {
		if text := entry.text(); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// section is a mapping, which remembers what has been asked for.
type section struct {
	value
	keys   []string
	fields map[string]value
	asked  map[string]bool
}

func (v value) section() section {
	s := section{value: v, fields: map[string]value{}, asked: map[string]bool{}}
	if !v.set() {
		return s
	}
	if v.node.Kind != yaml.MappingNode {
		v.r.fail(v, "", "is %s, not a mapping", v.kind())
		return s
	}
	s.read(v.node, 0)
	return s
}

// read takes the keys of a node, those of what it merges (`<<`) where it has none itself.
func (s *section) read(n *yaml.Node, depth int) {
	if depth > maxMerge {
		s.r.fail(s.value, "write it out", "merges are nested more than %d deep", maxMerge)
		return
	}
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := resolved(n.Content[i])
		if name.Kind != yaml.ScalarNode || name.ShortTag() == "!!merge" {
			continue
		}
		s.put(name.Value, resolved(n.Content[i+1]), own)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if name := resolved(n.Content[i]); name.ShortTag() == "!!merge" {
			s.merge(resolved(n.Content[i+1]), depth)
		}
	}
}

// put sets a key where no outer mapping has; of two in one mapping the later holds.
func (s *section) put(name string, n *yaml.Node, own map[string]bool) {
	entry := value{s.r, join(s.key, name), n}
	_, taken := s.fields[name]
	if taken && !own[name] || !s.r.count(entry) {
		return
	}
	if !taken {
		s.keys = append(s.keys, name)
	}
	own[name] = true
	s.fields[name] = entry
}

func (s *section) merge(n *yaml.Node, depth int) {
	if n.Kind == yaml.MappingNode {
		s.read(n, depth+1)
		return
	}
	for _, entry := range n.Content {
		if entry = resolved(entry); entry.Kind == yaml.MappingNode && s.r.count(s.value) {
			s.read(entry, depth+1)
		}
	}
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// get returns a key's value, and notes that it was asked for.
func (s section) get(name string) value {
	s.asked[name] = true
	if v, ok := s.fields[name]; ok {
		return v
	}
	return value{r: s.r, key: join(s.key, name)}
}

// entries are all keys with their values, which are asked for thereby.
func (s section) entries() []named {
	var list []named
	for _, name := range s.keys {
		list = append(list, named{name, s.get(name)})
	}
	return list
}

// named is a key with its value.
type named struct {
	name string
	value
}

// rest are the keys that nobody asked for, with something in them.
func (s section) rest() []named {
	var list []named
	for _, name := range s.keys {
		if v := s.fields[name]; !s.asked[name] && v.set() {
			list = append(list, named{name, v})
		}
	}
	return list
}

func (s section) has(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, ok := s.fields[name]; return ok })
}

// unknownAnchor has a text of the file in it, which may be a password that begins with an asterisk.
var unknownAnchor = regexp.MustCompile(`unknown anchor '.*' referenced`)

// parse reads one YAML or JSON document whose top is a mapping.
func parse(file string, data []byte) (section, *reader) {
	r := &reader{file: file}
	text := string(data)
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		text = strings.ReplaceAll(text, "\t", " ") // JSON may be indented by tabs, YAML may not; in a JSON text no tab can stand raw
	}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var document, more yaml.Node
	err := decode(decoder, &document)
	switch {
	case errors.Is(err, io.EOF), err == nil && len(document.Content) == 0:
		err = errors.New("is empty")
	case err != nil:
		err = errors.New(unknownAnchor.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "refers to an unknown anchor; a string that begins with * needs quotes"))
	case decode(decoder, &more) == nil:
		err = errors.New("holds more than one YAML document")
	}
	if err != nil {
		r.errs = append(r.errs, &Error{File: file, Err: err, Hint: "give a config that the tool itself can read"})
		return section{value: value{r: r}, fields: map[string]value{}, asked: map[string]bool{}}, r
	}
	return value{r, "", resolved(document.Content[0])}.section(), r
}

// decode turns a panic of the parser, which some inputs cause, into an error.
func decode(d *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot be read: %v", p)
		}
	}()
	return d.Decode(n)
}

// number returns a scalar in the place of another.
func number(n *yaml.Node, text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: text, Line: n.Line, Column: n.Column}
}
