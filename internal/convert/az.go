package convert

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/lazyregexp"
)

// azScript finds `az acr import` in a file: a shell script as it is, and in YAML, as a pipeline is, all texts of it. It is nil where there is none.
func azScript(data []byte) *script {
	if !imports.Match(data) {
		return nil
	}
	s := &script{assigned: map[string][]word{}}
	if !s.yaml(string(data)) {
		lex(string(data), 1, dialect{}, s)
	}
	s.commands = slices.DeleteFunc(s.commands, func(c command) bool { return azArguments(c.words) == nil })
	if len(s.commands) == 0 {
		return nil
	}
	return s
}

var imports = regexp.MustCompile(`\bacr\b`)

// yaml reads the texts of a YAML file that have commands in them, and its variables; false for a file that is none.
func (s *script) yaml(text string) bool {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	found := false
	for {
		var n yaml.Node
		if decode(decoder, &n) != nil {
			return found
		}
		if len(n.Content) == 0 || n.Content[0].Kind == yaml.ScalarNode {
			return found
		}
		found = true
		s.node(&n)
	}
}

func (s *script) node(n *yaml.Node) {
	switch {
	case n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "acr"):
		line := n.Line
		if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			line++
		}
		lex(n.Value, line, dialect{pipeline: true}, s)
	case n.Kind == yaml.MappingNode:
		s.variables(n)
	}
	for _, c := range n.Content {
		s.node(c)
	}
}

// variables reads what a pipeline sets: a mapping below "variables" or "env", or a list of names and values.
func (s *script) variables(n *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, set := n.Content[i].Value, n.Content[i+1]
		if key != "variables" && key != "env" {
			continue
		}
		if set.Kind == yaml.MappingNode {
			for j := 0; j+1 < len(set.Content); j += 2 {
				s.variable(set.Content[j].Value, set.Content[j+1])
			}
		}
		for _, entry := range set.Content {
			if entry.Kind == yaml.MappingNode && set.Kind == yaml.SequenceNode {
				s.variable(field(entry, "name").Value, field(entry, "value"))
			}
		}
	}
}

func field(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return &yaml.Node{}
}

func (s *script) variable(name string, n *yaml.Node) {
	if name == "" || n.Kind != yaml.ScalarNode {
		return
	}
	value := word{{text: n.Value}}
	if strings.Contains(n.Value, "$") {
		value = word{{odd: true}}
	}
	s.assigned[name] = append(s.assigned[name], value)
}

// azArguments are the words behind `az acr import`; nil for another command.
func azArguments(words []word) []word {
	for i := range len(words) - 2 {
		program := words[i].literal()
		program = strings.TrimSuffix(strings.TrimSuffix(program[strings.LastIndexAny(program, `/\`)+1:], ".cmd"), ".exe")
		if program == "az" && words[i+1].literal() == "acr" && words[i+2].literal() == "import" {
			return append([]word{}, words[i+3:]...)
		}
	}
	return nil
}

// azOptions are those of `az acr import` by all their names, each with its long one; azFlags take no value.
var azOptions = map[string]string{
	"-n": "--name", "--name": "--name", "-g": "--resource-group", "--resource-group": "--resource-group", "--source": "--source",
	"-r": "--registry", "--registry": "--registry", "-u": "--username", "--username": "--username", "-p": "--password", "--password": "--password",
	"-t": "--image", "--image": "--image", "--repository": "--repository", "--subscription": "--subscription",
	"-o": azIgnored, "--output": azIgnored, "--query": azIgnored,
}

// azIgnored stands for options that say how az answers.
const azIgnored = "-o"

var azFlags = map[string]bool{"--force": true, "--no-wait": true, "--only-show-errors": true, "--verbose": true, "--debug": true}

// azImport is one call, with its values in dray's form.
type azImport struct {
	at     value
	values map[string][]string
	force  bool
	noWait bool
}

// az reads the calls of a script.
func (d *document) az(top section, s *script) {
	noWait := false
	for _, c := range s.commands {
		for _, known := range d.turns(top.r, c, s) {
			i, err := d.azCall(top.r, c, known, s)
			if err != nil {
				d.remark(i.at, "no equivalent: %v; write the mapping by hand", err)
				continue
			}
			noWait = noWait || i.noWait
			if err := d.azMappings(i); err != nil {
				top.r.fail(i.at, "fix it there, or remove it", "%w", err)
			}
		}
	}
	at := value{r: top.r}
	if len(d.mappings) == 0 {
		return
	}
	referrers := d.noReferrers(top)
	for _, m := range d.mappings {
		m.referrers = referrers
	}
	if slices.ContainsFunc(d.mappings, func(m *mapping) bool { return m.moved != "" }) {
		d.remark(at, "az acr import without --force fails if the tag exists; with moved: refuse, dray never moves a tag that holds another image, and counts one that already holds this image as done")
	}
	if noWait {
		d.remark(at, "--no-wait has no equivalent: dray waits for each import (azure.import.parallel of them at once per registry) and reports how it ended")
	}
}

// turns are what is known of variables in each turn of the loops around a command.
func (d *document) turns(r *reader, c command, s *script) []map[string]string {
	turns := []map[string]string{{}}
	at := value{r: r, key: "az acr import", node: &yaml.Node{Line: c.line}}
	if c.under != "" {
		d.remark(at, "the line is in %s; the mapping assumes that it always runs", c.under)
	}
	for _, l := range c.loops {
		if l.words == nil || len(turns)*len(l.words) > maxLoop {
			d.remark(at, "the line is in a loop whose values are unknown here; there is one mapping, with ${env:} for what changes: write one mapping per value")
			continue
		}
		more, unknown := s.over(l, turns)
		if unknown {
			d.remark(at, "the line is in a loop over %s, whose values are unknown here: write one mapping per value", l.name)
		}
		turns = more
		d.remark(at, "the line is in a loop over %s; there is one mapping per value", l.name)
	}
	return turns
}

// over are what is known of variables in each turn of a loop within others; unknown says that some of what it goes over is not.
func (s *script) over(l loop, turns []map[string]string) (more []map[string]string, unknown bool) {
	for _, turn := range turns {
		for _, w := range l.words {
			text, err := s.value(w, turn)
			if err != nil || strings.Contains(text, "${") {
				more, unknown = append(more, turn), true
				continue
			}
			for field := range strings.FieldsSeq(text) {
				if len(more) > maxLoop {
					return more, true
				}
				next := maps.Clone(turn)
				next[l.name] = field
				more = append(more, next)
			}
		}
	}
	return more, unknown
}

// value is a word in dray's form: what the script sets once to a text is put in, and other variables become ${env:NAME}.
func (s *script) value(w word, known map[string]string) (string, error) {
	return s.deep(w, known, 0)
}

func (s *script) deep(w word, known map[string]string, depth int) (string, error) {
	var b strings.Builder
	for _, p := range w {
		if s.parts++; s.parts > maxEntries || b.Len() > maxTemplate {
			return "", errors.New("the value is too long")
		}
		text, err := s.part(p, known, depth)
		if err == nil && b.Len()+len(text) > maxTemplate {
			err = errors.New("the value is too long")
		}
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func (s *script) part(p part, known map[string]string, depth int) (string, error) {
	switch {
	case p.odd || depth > maxMerge || strings.Contains(p.cut, "+"):
		return "", errors.New("it uses the output of a command, or an argument of the script")
	case p.name == "":
		return escape(p.text), nil
	}
	text, ok := known[p.name]
	if set := s.assigned[p.name]; !ok && len(set) == 1 {
		var err error
		text, err = s.deep(set[0], known, depth+1)
		ok = err == nil
	}
	if !ok {
		text = "${env:" + p.name + "}"
	}
	switch {
	case p.cut == "" || strings.IndexByte("#%", p.cut[0]) < 0: // a default counts where there is none, which is not known here
		return text, nil
	case strings.Contains(text, "${"):
		return "", fmt.Errorf("it removes %s from %s", p.cut, p.name)
	}
	return cut(text, p.cut), nil
}

// cut takes a prefix or a suffix off, as a shell does for the patterns *TEXT and TEXT*.
func cut(text, how string) string {
	operator := how[:1]
	if strings.HasPrefix(how[1:], operator) {
		operator += operator
	}
	pattern := how[len(operator):]
	mark := strings.Trim(pattern, "*")
	i := strings.Index(text, mark)
	if operator == "##" || operator == "%" {
		i = strings.LastIndex(text, mark)
	}
	switch {
	case i < 0 || mark == "":
	case operator[0] == '#' && (strings.HasPrefix(pattern, "*") || i == 0):
		return text[i+len(mark):]
	case operator[0] == '%' && (strings.HasSuffix(pattern, "*") || i+len(mark) == len(text)):
		return text[:i]
	}
	return text
}

// azCall reads the arguments of a call.
func (d *document) azCall(r *reader, c command, known map[string]string, s *script) (azImport, error) {
	i := azImport{at: value{r, "az acr import", &yaml.Node{Line: c.line}}, values: map[string][]string{}}
	for words := azArguments(c.words); len(words) > 0; {
		option, inline := azOption(words[0])
		words = words[1:]
		long, valued := azOptions[option]
		switch {
		case !valued && inline == nil && azFlags[option]:
			i.force, i.noWait = i.force || option == "--force", i.noWait || option == "--no-wait"
			continue
		case inline != nil:
		case len(words) > 0 && (valued || len(words[0]) > 0 && !strings.HasPrefix(words[0][0].text, "-")):
			inline, words = words[0], words[1:]
		case valued:
			return i, fmt.Errorf("%s has no value", option)
		}
		if !valued {
			if !azName.MatchString(option) {
				option = "in line " + strconv.Itoa(c.line)
			}
			d.remark(i.at, "no equivalent: the argument %s was left out", option)
			continue
		}
		text, err := s.value(inline, known)
		switch {
		case long == azIgnored:
			continue
		case long == "--password":
			text = secretOf(inline)
		case err != nil:
			return i, fmt.Errorf("%s: %w", option, err)
		}
		i.values[long] = append(i.values[long], text)
	}
	return i, nil
}

// azOption is the name of an argument, and the value behind its equals sign where there is one.
func azOption(w word) (name string, inline word) {
	if len(w) > 0 && strings.HasPrefix(w[0].text, "--") {
		if option, rest, ok := strings.Cut(w[0].text, "="); ok {
			return option, append(word{{text: rest}}, w[1:]...)
		}
	}
	if len(w) > 0 && len(w[0].text) > 2 && w[0].text[0] == '-' && azOptions[w[0].text[:2]] != "" {
		return w[0].text[:2], append(word{{text: w[0].text[2:]}}, w[1:]...) // -pPASSWORD
	}
	return w.literal(), nil
}

// azName is what an argument can be called without repeating what may be secret.
var azName = regexp.MustCompile(`^--?[a-z]+(-[a-z]+)*$`)

// secretOf is a variable for a password, by the script's name where it has one, and a mark for one that stands in plain text.
func secretOf(w word) string {
	if len(w) == 1 && w[0].name != "" {
		return "${env:" + w[0].name + "}"
	}
	return plainSecret
}

// plainSecret stands for a password that is not repeated.
const plainSecret = "\x00"

func (i azImport) one(name string) string {
	if v := i.values[name]; len(v) > 0 {
		return v[len(v)-1] // as az takes the last
	}
	return ""
}

// azMappings adds what a call imports.
func (d *document) azMappings(i azImport) error {
	name, source := i.one("--name"), i.one("--source")
	if name == "" || source == "" {
		return errors.New("the call needs --name and --source")
	}
	target, engine := d.azTarget(i, name)
	from, err := d.azSource(i, source)
	if err != nil {
		return err
	}
	d.azCredentials(i, from)
	images := i.values["--image"]
	if len(images) == 0 && len(i.values["--repository"]) == 0 {
		path := strings.TrimPrefix(from, registryOf(from)+"/")
		repository, tag, digest := splitReference(path)
		if digest != "" {
			tag = "latest"
		}
		images = []string{withTag(repository, tag)}
	}
	_, tag, digest := splitReference(from)
	m := mapping{at: i.at, source: from, options: options{engine: engine}}
	if !i.force {
		m.moved = "refuse"
	}
	if digest == "" && tag == "" && !strings.HasSuffix(from, "}") { // a variable may have a tag in it
		m.source += ":latest"
		tag = "latest"
	}
	if len(images) > 0 {
		tagged := m
		for _, name := range images {
			repository, own, _ := splitReference(name)
			if own == "" && !strings.HasSuffix(name, "}") {
				own = cmp.Or(tag, "latest")
			}
			tagged.targets = append(tagged.targets, target+"/"+withTag(repository, own))
		}
		d.add(&tagged)
	}
	for _, repository := range i.values["--repository"] {
		bare := m
		bare.targets, bare.untagged = []string{target + "/" + repository}, true
		if digest == "" {
			d.disable(&bare, i.at, "no equivalent: --repository imports an image without a tag, which dray does by digest only; write the source as repository@sha256:…")
		}
		d.add(&bare)
	}
	return nil
}

func withTag(repository, tag string) string {
	if tag == "" {
		return repository
	}
	return repository + ":" + tag
}

// registryOf is all before the first slash.
func registryOf(ref string) string {
	i := strings.IndexByte(blank(ref), '/')
	return ref[:max(0, i)]
}

const azSuffix = ".azurecr.io"

// azTarget is the host of the target's registry, which gets an entry where its name is known; else the mapping says that Azure imports.
func (d *document) azTarget(i azImport, name string) (host, engine string) {
	name = strings.TrimSuffix(name, azSuffix)
	if strings.Contains(name, "${") {
		return name + azSuffix, "acr"
	}
	name = strings.ToLower(name)
	r := d.registry(i.at, name+azSuffix)
	if r == nil {
		return name + azSuffix, "acr"
	}
	r.azure = true
	id := "/subscriptions/" + i.one("--subscription") + "/resourceGroups/" + i.one("--resource-group") + "/providers/Microsoft.ContainerRegistry/registries/" + name
	if r.resourceID == "" && image.IsAzureRegistry(id) {
		r.resourceID = id
	}
	return r.key, ""
}

// registryID finds a registry's name in what looks like its resource ID, which may have variables.
var registryID = lazyregexp.New(`^(?i:/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ContainerRegistry/registries/([a-z0-9]{5,50}))$`)

// azSource is the whole name of the source.
func (d *document) azSource(i azImport, source string) (string, error) {
	registry := i.one("--registry")
	if registry == "" {
		host := registryOf(source)
		if host == "" {
			return "", errors.New("its source names no registry, and --registry is missing")
		}
		return source, nil
	}
	host := registry
	m := registryID().FindStringSubmatch(registry)
	switch {
	case m != nil:
		host = strings.ToLower(m[1]) + azSuffix
	case strings.Contains(registry, "${"):
		d.remark(i.at, "--registry is a variable; dray takes it for a registry name. For a resource ID, write registries.NAME%s: {azure: {resourceID: …}}", azSuffix)
		host = strings.TrimSuffix(registry, azSuffix) + azSuffix
	case !strings.Contains(registry, "."):
		host = strings.ToLower(registry) + azSuffix
	}
	if !strings.Contains(host, "${") {
		if r := d.registry(i.at, host); r != nil {
			r.azure = true
			switch {
			case image.IsAzureRegistry(registry):
				r.resourceID = registry
			case m != nil:
				d.remark(i.at, "--registry is no resource ID that Azure gives; write it as registries.%s: {azure: {resourceID: …}}", host)
			}
		}
	}
	return host + "/" + strings.TrimPrefix(source, host+"/"), nil
}

// azCredentials puts the user and the password of a source into its entry.
func (d *document) azCredentials(i azImport, source string) {
	username, password := i.one("--username"), i.one("--password")
	if username == "" && password == "" {
		return
	}
	key := host(source)
	if key == "" {
		d.remark(i.at, "the source's registry is a variable; write its credentials as registries.HOST: {username: …, password: …}")
		return
	}
	if canonical, err := image.CanonicalHost(key); err == nil {
		key = canonical
	}
	r := d.registry(i.at, key)
	switch {
	case r == nil:
	case r.azure:
		d.remarkRegistry(r, i.at, "az ignores a username and password beside --registry; they were left out")
	case username == "":
		d.remarkRegistry(r, i.at, "no equivalent: a password alone is an Entra token, which expires within hours; dray signs in to Azure registries by itself, or write username and password")
	case password == "":
		d.credentials(r, i.at, username, "")
	default:
		if password == plainSecret {
			if password = r.password; password == "" {
				password = d.secret(r, i.at)
			}
		}
		d.credentials(r, i.at, username, password)
	}
}
