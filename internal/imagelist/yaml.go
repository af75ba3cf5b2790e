package imagelist

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	// maxValues is how many values a document may have, roughly, and maxVisited how many with what aliases repeat.
	maxValues  = 1_000_000
	maxVisited = 4_000_000
	// visitedByMerge is for how many values a merge counts, since it compares keys.
	visitedByMerge = 100
	// maxDepth limits how deep values are nested, and maxEmbedded documents in the texts of others.
	maxDepth    = 200
	maxEmbedded = 3
)

// surroundings are where in a document a value is.
type surroundings int

const (
	// inOther is a document of an unknown kind, such as a chart's values.
	inOther surroundings = iota
	// inObject is a Kubernetes object, and inContainer a container of one.
	inObject
	inContainer
	// inSchema is the schema of a custom resource.
	inSchema
	inCompose
	inService
)

type visit struct {
	node *yaml.Node
	in   surroundings
}

// document is one of a file, or one in a text of another.
type document struct {
	*finder
	lines []string
	// line and col are added to positions.
	line, col int
	// fixed is where all of it is; nil if the positions are known.
	fixed *Place
	level int
	path  []string
	depth int
}

// yaml reads the documents of a file, each by itself: one may be broken.
func (f *finder) yaml(text string) {
	lines := strings.Split(text, "\n")
	start := 0
	for i := 0; i <= len(lines) && !f.full(); i++ {
		end := i == len(lines) || strings.HasPrefix(lines[i], "---") && strings.Trim(lines[i][3:3+min(1, len(lines[i])-3)], " \t") == "" || strings.TrimRight(lines[i], " ") == "..."
		if !end {
			continue
		}
		d := document{finder: f, lines: lines[start:i], line: start}
		d.read()
		if start = i + 1; i < len(lines) && strings.TrimSpace(strings.TrimPrefix(lines[i], "---")) != "" && lines[i][0] == '-' {
			lines[i] = "   " + lines[i][3:] // the document begins on the line of its mark
			start = i
		}
	}
}

// read reads a document.
func (d *document) read() {
	text := strings.Join(d.lines, "\n")
	if i := strings.IndexAny(strings.TrimSpace(text), "[{"); i == 0 {
		text = strings.ReplaceAll(text, "\t", " ") // which JSON allows between its values only
	}
	root, err := decode(text)
	switch {
	case err != nil:
		d.broken(err)
	case root != nil:
		d.root(root)
	}
}

// decode returns the root of a document; nil if it is empty.
func decode(text string) (root *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, fmt.Errorf("the parser gave up: %v", p)
		}
	}()
	if strings.Count(text, "\n")+strings.Count(text, ":")+strings.Count(text, ",")+strings.Count(text, "- ")+strings.Count(text, "[")+strings.Count(text, "{") > maxValues {
		return nil, fmt.Errorf("it has more than %d values", maxValues)
	}
	var doc yaml.Node
	switch err = yaml.NewDecoder(strings.NewReader(text)).Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return doc.Content[0], nil
}

// at returns where a node is.
func (d *document) at(n *yaml.Node) Place {
	if d.fixed != nil {
		return *d.fixed
	}
	return Place{d.file, d.line + n.Line, d.col + n.Column}
}

func (d *document) root(n *yaml.Node) {
	switch {
	case n.Kind == yaml.SequenceNode && d.level == 0 && len(n.Content) > 0 && !slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return c.Kind != yaml.ScalarNode }):
		for _, c := range n.Content {
			d.reference(d.at(c), c.Value)
		}
	case n.Kind == yaml.MappingNode && isCompose(n):
		d.walk(n, inCompose, "")
	default:
		d.walk(n, inOther, "")
	}
}

// isCompose reports whether a document is a compose file.
func isCompose(n *yaml.Node) bool {
	services := resolved(valueOf(n, "services"))
	if services == nil || services.Kind != yaml.MappingNode || valueOf(n, "apiVersion") != nil {
		return false
	}
	for i := 1; i < len(services.Content); i += 2 {
		if resolved(services.Content[i]).Kind != yaml.MappingNode {
			return false
		}
	}
	return len(services.Content) > 0
}

// isObject reports whether a mapping is a Kubernetes object, or a file of a tool that looks like one.
func isObject(n *yaml.Node) bool {
	return textOf(n, "kind") != "" && (textOf(n, "apiVersion") != "" || valueOf(n, "metadata") != nil)
}

func resolved(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// valueOf returns the value of a key of a mapping; nil for none.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n = resolved(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func textOf(n *yaml.Node, key string) string {
	if v := resolved(valueOf(n, key)); v != nil && v.Kind == yaml.ScalarNode && v.ShortTag() != "!!null" {
		return strings.TrimSpace(v.Value)
	}
	return ""
}

// walk looks at a value, and at what is in it. key is the nearest one above it.
func (d *document) walk(n *yaml.Node, in surroundings, key string) {
	if d.visited++; d.beyond() {
		return
	}
	place := n
	if n = resolved(n); n.Anchor != "" && n.Kind != yaml.ScalarNode {
		if _, again := d.seen[visit{n, in}]; again {
			return
		}
		d.seen[visit{n, in}] = struct{}{}
	}
	d.depth++
	defer func() { d.depth-- }()
	switch n.Kind {
	case yaml.MappingNode:
		d.mapping(n, in, key)
	case yaml.SequenceNode:
		for _, c := range n.Content {
			d.walk(c, in, key)
		}
	case yaml.ScalarNode:
		d.scalar(place, in, key)
	default: // a resolved node is one of these
	}
}

func (d *document) mapping(n *yaml.Node, in surroundings, key string) {
	object := isObject(n)
	if object {
		in = inObject
		switch textOf(n, "kind") {
		case "CustomResourceDefinition":
			in = inSchema
		case "Secret":
			return
		}
	}
	if textOf(n, "kind") == "DockerImage" && textOf(n, "name") != "" { // OpenShift's
		name := valueOf(n, "name")
		d.reference(d.at(name), resolved(name).Value)
	}
	if in != inSchema {
		d.pair(n, key)
	}
	d.pairs(n, nil, func(k, v *yaml.Node) {
		d.path = append(d.path, k.Value)
		defer func() { d.path = d.path[:len(d.path)-1] }()
		switch {
		case d.wanted():
			d.named(v)
		case in == inSchema:
			d.schema(k.Value, v)
		case in == inCompose:
			switch k.Value {
			case "services":
				d.pairs(resolved(v), nil, func(_, service *yaml.Node) { d.walk(service, inService, "") })
			case "include":
				d.elsewhere(v)
			}
		case in == inService:
			d.service(n, k.Value, v)
		case object && k.Value == "status", hasNoImages[k.Value]:
		default:
			d.value(k.Value, v, in)
		}
	})
}

// hasNoImages are keys of Kubernetes whose values are no images, or a copy of the object itself.
var hasNoImages = map[string]bool{
	"labels": true, "matchLabels": true, "selector": true, "nodeSelector": true, "managedFields": true, "kubectl.kubernetes.io/last-applied-configuration": true,
}

// pairs calls f for each pair of a mapping, also merged ones whose key is not taken.
func (d *document) pairs(n *yaml.Node, taken []string, f func(k, v *yaml.Node)) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := resolved(n.Content[i]), n.Content[i+1]
		switch {
		case k.Value == "<<" && k.ShortTag() == "!!merge":
			merged = append(merged, v)
		case k.Kind == yaml.ScalarNode && !slices.Contains(taken, k.Value):
			f(k, v)
		case k.Kind != yaml.ScalarNode: // what {{ .Values.x }} is without quotes
			d.walk(v, inOther, "")
		}
	}
	if len(merged) > 0 {
		for i := 0; i+1 < len(n.Content); i += 2 {
			taken = append(taken, n.Content[i].Value)
		}
		d.merged(merged, taken, f)
	}
}

// merged calls f for the pairs of merged mappings.
func (d *document) merged(merged []*yaml.Node, taken []string, f func(k, v *yaml.Node)) {
	d.depth++
	defer func() { d.depth-- }()
	for _, m := range merged {
		sources := []*yaml.Node{resolved(m)}
		if sources[0].Kind == yaml.SequenceNode {
			sources = sources[0].Content
		}
		for _, s := range sources {
			if d.visited += visitedByMerge; d.beyond() {
				return
			}
			d.pairs(resolved(s), taken, f)
		}
	}
}

// beyond reports whether the document, or what was found, exceeds a limit.
func (d *document) beyond() bool {
	switch {
	case d.full():
	case d.visited > maxVisited:
		d.err = fmt.Errorf("its aliases stand for more than %d values", maxVisited)
	case d.depth > maxDepth:
		d.err = fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	return d.err != nil
}

// schema looks for defaults only.
func (d *document) schema(key string, v *yaml.Node) {
	n := resolved(v)
	if n.Kind != yaml.ScalarNode {
		d.walk(v, inSchema, key)
		return
	}
	if is, _ := formOf(n.Value); key == "default" && is == formFull {
		d.doubt(d.at(v), n.Value, "is a default in the schema of a custom resource: the operator may have another one")
	}
}

var containerLists = map[string]bool{"containers": true, "initContainers": true, "ephemeralContainers": true, "sidecars": true, "steps": true}

// value looks at the value of a key of a Kubernetes object or of another document.
func (d *document) value(key string, v *yaml.Node, in surroundings) {
	n := resolved(v)
	inside := in
	if inside == inContainer {
		inside = inObject
	}
	switch {
	case in != inOther && containerLists[key] && n.Kind == yaml.SequenceNode:
		d.containers(n, in, key)
	case in != inOther && (key == "container" || key == "script" || key == "stepTemplate") && n.Kind == yaml.MappingNode:
		d.walk(v, inContainer, key)
	case in == inContainer && key == "image" && n.Kind == yaml.ScalarNode:
		d.ofContainer(v, n)
	case key == "image" && n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode:
		d.doubt(d.at(v), strings.TrimSpace(d.lineOf(v)), unresolved("{{"))
	case key == "image" && in != inOther && textOf(n, "reference") != "": // of a volume
		reference := valueOf(n, "reference")
		d.reference(d.at(reference), resolved(reference).Value)
	case in != inOther && (key == "args" || key == "command") && n.Kind == yaml.SequenceNode:
		d.arguments(n)
	case in != inOther && key == "env" && n.Kind == yaml.SequenceNode:
		d.environment(n)
	case (key == "images" || key == "services" && in == inOther) && n.Kind == yaml.SequenceNode:
		d.images(n, in)
	default:
		d.walk(v, inside, key)
	}
}

func (d *document) containers(n *yaml.Node, in surroundings, key string) {
	for _, c := range n.Content {
		if resolved(c).Kind == yaml.MappingNode {
			in = inContainer
		}
		d.walk(c, in, key)
	}
}

func (d *document) ofContainer(v, n *yaml.Node) {
	if text := strings.TrimSpace(n.Value); text != "" && n.ShortTag() != "!!null" {
		d.reference(d.at(v), text)
	}
}

func (d *document) lineOf(n *yaml.Node) string {
	if i := n.Line - 1; d.fixed == nil && i >= 0 && i < len(d.lines) {
		return d.lines[i]
	}
	return n.Value
}

// images looks at a list of images.
func (d *document) images(n *yaml.Node, in surroundings) {
	for _, c := range n.Content {
		entry := resolved(c)
		if renamed := valueOf(entry, "newName"); renamed != nil {
			d.doubt(d.at(renamed), resolved(renamed).Value, "is put in place of another image by kustomize: give the output of kustomize build")
			continue
		}
		is, ref := formNone, entry
		if entry.Kind == yaml.ScalarNode {
			is, _ = formOf(entry.Value)
		}
		switch {
		case is >= formTagged && in != inOther:
			d.reference(d.at(c), ref.Value)
		case is >= formTagged, is == formBare && strings.Contains(entry.Value, "/"):
			d.doubt(d.at(c), entry.Value, whyOther(in))
		default:
			d.walk(c, in, "images")
		}
	}
}

func whyOther(in surroundings) string {
	if in == inOther {
		return "is in a file that is neither a manifest nor a compose file: name its place with a path, or give the rendered manifests"
	}
	return "may be an image, and may be something else: name its place with a path"
}

// pair doubts repositories with tags, as charts' values have them.
func (d *document) pair(n *yaml.Node, key string) {
	repository, tag := textOf(n, "repository"), textOf(n, "tag")
	if is, _ := formOf(repository); is != formBare || tag == "" && key != "image" {
		return
	}
	why := "is a repository with a tag of its own, as in charts' values: give the output of helm template, or name its place with a path"
	if tag == "" {
		why = "is a repository, and the tag is elsewhere: give the output of helm template"
	}
	d.doubt(d.at(valueOf(n, "repository")), repository, why)
}

// scalar looks at a text.
func (d *document) scalar(v *yaml.Node, in surroundings, key string) {
	n := resolved(v)
	if n.ShortTag() != "!!str" || in == inSchema || in == inCompose {
		return
	}
	text := strings.TrimSpace(n.Value)
	if d.embedded(v, n) {
		return
	}
	if rest, ok := strings.CutPrefix(text, "docker://"); ok && in != inOther {
		if is, _ := formOf(rest); is >= formBare {
			d.reference(d.at(v), text)
		}
		return
	}
	is, _ := formOf(text)
	switch {
	case is == formNone:
		if key == "image" && unresolved(text) != "" {
			d.doubt(d.at(v), text, unresolved(text))
		}
	case in == inOther:
		if is >= formTagged && namesImage(key) || key == "image" {
			d.doubt(d.at(v), text, whyOther(in))
		}
	case namesImage(key) && (is == formFull || is == formTagged):
		d.given(d.at(v), key, text)
	case is == formFull, key == "image":
		d.doubt(d.at(v), text, whyOther(in))
	}
}

// arguments looks at what a program is started with.
func (d *document) arguments(n *yaml.Node) {
	name := ""
	for _, c := range n.Content {
		v := resolved(c)
		if v.Kind != yaml.ScalarNode {
			continue
		}
		text := v.Value
		if flag, value, ok := strings.Cut(text, "="); ok && strings.HasPrefix(flag, "-") && !strings.ContainsAny(flag, " \n") {
			d.lined(c, flag, value)
			name = ""
			continue
		}
		if strings.HasPrefix(text, "-") && !strings.ContainsAny(text, " \n") {
			name = text
			continue
		}
		d.lined(c, name, text)
		name = ""
	}
}

// environment looks at the variables of a container.
func (d *document) environment(n *yaml.Node) {
	for _, c := range n.Content {
		if value := valueOf(c, "value"); value != nil && resolved(value).Kind == yaml.ScalarNode {
			d.lined(value, textOf(c, "name"), resolved(value).Value)
		}
	}
}

// lined takes a value of several lines line by line, where its place is known.
func (d *document) lined(v *yaml.Node, name, value string) {
	n := resolved(v)
	if n.Style != yaml.LiteralStyle || d.fixed != nil || v != n {
		d.argument(d.at(v), name, value)
		return
	}
	for i, line := range strings.Split(value, "\n") {
		at := d.at(n)
		at.Line += 1 + i
		at.Col = d.col + 1 + d.indent(n)
		d.argument(at, name, line)
	}
}

// indent returns how far the text of a literal block is indented.
func (d *document) indent(n *yaml.Node) int {
	for i := n.Line; i < len(d.lines); i++ {
		if text := strings.TrimLeft(d.lines[i], " "); strings.TrimSpace(text) != "" {
			return len(d.lines[i]) - len(text)
		}
	}
	return 0
}

// embedded looks at a document in a text, such as in a ConfigMap, and reports whether the text is of several lines, or a document.
func (d *document) embedded(v, n *yaml.Node) bool {
	text := strings.TrimSpace(n.Value)
	several := strings.Contains(text, "\n")
	if !several && !strings.HasPrefix(text, "{\"") && !strings.HasPrefix(text, "[{") {
		return false
	}
	if d.level >= maxEmbedded || !strings.Contains(strings.ToLower(text), "image") {
		return several
	}
	inner := document{finder: d.finder, lines: strings.Split(n.Value, "\n"), level: d.level + 1, depth: d.depth}
	if at := d.at(v); n.Style == yaml.LiteralStyle && d.fixed == nil && v == n {
		inner.line, inner.col = at.Line, d.col+d.indent(n)
	} else {
		inner.fixed = &at
	}
	inner.read()
	return true
}

var imageLine = regexp.MustCompile(`(?:^|[\s{,"'-])([A-Za-z_.-]*[iI]mage[A-Za-z]*)["']?[ \t]*:[ \t]*([^\s#].*)$`)

// broken doubts what looks like an image in a document that is no YAML.
func (d *document) broken(err error) {
	for i, line := range d.lines {
		m := imageLine.FindStringSubmatchIndex(line)
		if len(line) > maxLine || m == nil || strings.HasPrefix(strings.TrimSpace(line), "#") || d.full() {
			continue
		}
		key, value := line[m[2]:m[3]], line[m[4]:m[5]]
		if at := strings.Index(value, " #"); at >= 0 {
			value = value[:at]
		}
		value = strings.Trim(value, ` "',}`)
		is, _ := formOf(value)
		why := unresolved(line[m[4]:m[5]])
		if !namesImage(key) || why == "" && is < formTagged && (key != "image" || is == formNone) {
			continue
		}
		if why == "" {
			why = "is in a document that is no YAML (" + err.Error() + "): give the output of helm template, or fix it"
		} else {
			value = strings.Trim(line[m[4]:m[5]], ` "'`)
		}
		at := Place{d.file, d.line + i + 1, d.col + 1 + column(line, m[4])}
		if d.fixed != nil {
			at = *d.fixed
		}
		d.doubt(at, value, why)
	}
}
