package convert

import (
	"regexp"
	"slices"
	"strings"
)

// ocync reads the config of clowdhaus' ocync.
func (d *document) ocync(top section) {
	o := ocyncReader{document: d, groups: top.get("target_groups").section(), defaults: top.get("defaults").section(), hosts: map[string]string{}}
	for _, entry := range top.get("registries").section().entries() {
		o.registryEntry(entry)
	}
	for _, v := range top.get("mappings").list() {
		o.mapping(v.section())
	}
	for _, v := range top.get("global").section().entries() {
		d.remark(v.value, "no equivalent: %s", ocyncWhy(v.name))
	}
	for _, s := range []section{top, o.defaults} {
		for _, v := range s.rest() {
			d.remark(v.value, "no equivalent: dray convert does not know this key")
		}
	}
}

func ocyncWhy(key string) string {
	switch key {
	case "max_concurrent_transfers":
		return "jobs limits the mappings that run at once, registries.HOST.concurrency the requests to a registry"
	case "cache_dir":
		return "dray keeps its state in stateDir"
	case "cache_ttl", "staging_size_limit":
		return "dray's state needs no limit, and dray streams images without staging them"
	}
	return "dray convert does not know this key"
}

// ocyncReader knows registries and groups by their names in the file.
type ocyncReader struct {
	*document
	groups, defaults section
	hosts            map[string]string
}

var ocyncVariable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:[-?])([^}]*))?\}`)

// text turns ${NAME} into dray's reference. A default value has no equivalent.
func (o ocyncReader) text(v value) string {
	return ocyncVariable.ReplaceAllStringFunc(v.text(), func(ref string) string {
		found := ocyncVariable.FindStringSubmatch(ref)
		if found[2] == ":-" {
			o.remark(v, "no equivalent: a default for the variable %s; set the variable", found[1])
		}
		return "${env:" + found[1] + "}"
	})
}

func (o ocyncReader) registryEntry(entry named) {
	s := entry.section()
	name, plain := strings.CutPrefix(o.text(s.get("url")), "http://")
	name = strings.TrimSuffix(strings.TrimPrefix(name, "https://"), "/")
	o.hosts[entry.name] = name
	if name == "" {
		s.r.fail(s.get("url"), "write the registry's host", "is missing")
		return
	}
	if strings.Contains(name, "${") {
		if plain || s.has("credentials", "token", "max_concurrent") {
			o.remark(s.get("url"), "no equivalent: a variable in a key of registries; write the host there, with the settings of this entry")
		}
		return
	}
	r := o.registry(s.get("url"), name)
	if r == nil {
		return
	}
	r.plainHTTP = plain
	login := s.get("credentials").section()
	username, password := o.text(login.get("username")), ""
	if v := login.get("password"); v.text() != "" {
		if password = o.text(v); !isReference(password) {
			password = o.secret(r, v)
		}
	}
	o.credentials(r, login.value, username, password)
	o.access(r, s)
}

// access reads how to sign in, and how many requests there may be.
func (o ocyncReader) access(r *registry, s section) {
	switch kind := s.get("auth_type"); kind.text() {
	case "", "basic", "docker_config", "ghcr":
	case "anonymous":
		o.remarkRegistry(r, kind, "without a username here, dray uses the credentials of docker login, or else none")
	case "ecr", "gar", "gcr", "acr":
		o.remarkRegistry(r, kind, "no equivalent: name the registry's helper (docker-credential-ecr-login, -gcloud, -acr-env) in credHelpers of Docker's config.json, which dray reads")
	default:
		o.remarkRegistry(r, kind, "no equivalent: use username and password, or docker login")
	}
	if v := s.get("token"); v.set() {
		o.remarkRegistry(r, v, "no equivalent: a ready token was not copied; use username and password, or docker login")
	}
	r.concurrency = o.bound(r, s.get("max_concurrent"), 256)
	s.get("head_first") // dray always does
	for _, v := range s.rest() {
		o.remarkRegistry(r, v.value, "no equivalent: dray convert does not know this key")
	}
}

// mapping reads an entry of mappings.
func (o ocyncReader) mapping(s section) {
	or := func(key string) value {
		fallback := o.defaults.get(key)
		if own := s.get(key); own.set() {
			return own
		}
		return fallback
	}
	from := strings.Trim(o.text(s.get("from")), "/")
	to := strings.Trim(o.text(s.get("to")), "/")
	if to == "" {
		to = from
	}
	source := o.host(or("source"))
	if from == "" {
		s.r.fail(s.get("from"), "write the path at the source", "is missing")
	}
	m := mapping{at: s.value, name: from, source: source + "/" + from, options: options{platforms: unique(or("platforms").texts())}}
	for _, name := range o.targets(or("targets")) {
		m.targets = append(m.targets, name+"/"+to)
	}
	if source == "" || from == "" || len(m.targets) == 0 {
		return
	}
	o.artifacts(or("artifacts"), &m)
	for _, v := range s.rest() {
		if v.name != "tags" {
			o.remarkMapping(&m, "", v.value, "no equivalent: dray convert does not know this key")
		}
	}
	o.addSets(m, o.tags(s.get("tags").section(), &m))
}

// host returns the host of a registry by its name.
func (o ocyncReader) host(v value) string {
	name := v.text()
	if name == "" {
		v.r.fail(v, "write the name of an entry of registries", "is missing")
		return ""
	}
	host, ok := o.hosts[name]
	if !ok {
		v.r.fail(v, "write the name of an entry of registries", "there is no registry %q", name)
	}
	return host
}

// targets returns hosts: of a group, of one registry, or of a list of registries.
func (o ocyncReader) targets(v value) []string {
	list := v.list()
	if v.set() && len(list) == 1 {
		if group, ok := o.groups.fields[v.valueOrFirst()]; ok {
			list = group.list()
		}
	}
	if len(list) == 0 {
		v.r.fail(v, "write the name of a group or of a registry", "is missing")
	}
	var hosts []string
	for _, entry := range list {
		if host := o.host(entry); host != "" {
			hosts = append(hosts, host)
		}
	}
	return unique(hosts)
}

// valueOrFirst returns the text, or the only entry of a list.
func (v value) valueOrFirst() string {
	if list := v.list(); len(list) > 0 {
		return list[0].text()
	}
	return ""
}

func (o ocyncReader) artifacts(v value, m *mapping) {
	s := v.section()
	if enabled := s.get("enabled"); enabled.set() && !enabled.boolean() {
		m.referrers = []string{"false"}
		return
	}
	m.referrers = unique(s.get("include").texts())
	if v := s.get("exclude"); v.set() {
		o.remarkMapping(m, "referrers", v, "no equivalent: name the artifact types that you want in referrers")
	}
	if v := s.get("require_artifacts"); v.boolean() {
		o.remarkMapping(m, "referrers", v, "no equivalent: dray also copies images without referrers")
	}
}

// prerelease returns what ocync leaves out unless include names it, whatever its case.
func prerelease() []string {
	return []string{"/(?i).*-(rc|alpha|beta|pre|snapshot|nightly).*/"}
}

// tags reads the filter of a mapping, in which each key that is not there is that of the defaults. The excludes of both hold, those
// of the defaults but for what include names. Single tags in include are always taken; patterns there go through everything else.
func (o ocyncReader) tags(own section, m *mapping) []tagSet {
	defaults := o.defaults.get("tags").section()
	or := func(key string) value {
		fallback := defaults.get(key)
		if v := own.get(key); v.set() {
			return v
		}
		return fallback
	}
	hard := unique(own.get("exclude").texts())
	soft := append(unique(defaults.get("exclude").texts()), prerelease()...)
	var always, rescued []string
	for _, entry := range unique(or("include").texts()) {
		if literal(entry) {
			always = append(always, entry)
		} else {
			rescued = append(rescued, entry)
		}
	}
	set := tagSet{include: unique(or("glob").texts()), exclude: append(slices.Clone(hard), soft...), semver: or("semver").text()}
	if slices.Equal(set.include, []string{"*"}) {
		set.include = nil
	}
	if set.semver != "" {
		set.include = patterns(set.include)
	}
	o.sorted(or("sort"), or("latest"), m, &set)
	if v := or("immutable_tags"); v.set() {
		m.immutable = []string{v.text()}
	}
	for _, key := range []string{"min_tags", "semver_prerelease"} {
		if v := or(key); v.set() {
			o.remarkMapping(m, "tags", v, "no equivalent: %s", ocyncTagWhy(key))
		}
	}
	for _, v := range slices.Concat(own.rest(), defaults.rest()) {
		o.remarkMapping(m, "tags", v.value, "no equivalent: dray convert does not know this key")
	}
	o.suffixes(or("semver"), or("latest"), m, &set)
	var sets []tagSet
	if len(always) > 0 {
		sets = append(sets, tagSet{include: always, exclude: hard})
	}
	if len(rescued) > 0 { // what only the defaults exclude is taken as well
		back := set
		back.include, back.exclude = rescued, hard
		sets = append(sets, back)
		set.exclude = unique(append(set.exclude, rescued...))
		if set.newest > 0 {
			o.remarkMapping(m, "tags", or("latest"), "no equivalent: the newest of include and of the rest together; this keeps that many of each")
		}
	}
	return append(sets, set)
}

// sorted reads how many to keep.
func (o ocyncReader) sorted(order, latest value, m *mapping, set *tagSet) {
	switch {
	case latest.integer() <= 0:
	case order.text() == "alpha":
		o.remarkMapping(m, "tags", latest, "no equivalent: the last in alphabetical order; newest counts versions")
	default:
		set.newest = latest.integer()
		set.include = patterns(set.include)
	}
}

// openRange matches a range of which each part is >= or <, so that -0 behind each version changes nothing but what it says
// about pre-releases.
var openRange = regexp.MustCompile(`^\s*(?:>=|<)\s*v?[0-9]+(?:\.[0-9]+){0,2}\s*(?:,\s*(?:>=|<)\s*v?[0-9]+(?:\.[0-9]+){0,2}\s*)*$`)

// suffixes takes in 1.2.3-alpine and 1.2.3-r4, which are plain versions for ocync and pre-releases for dray.
func (o ocyncReader) suffixes(semver, latest value, m *mapping, set *tagSet) {
	switch {
	case set.semver == "" && set.newest > 0:
		set.semver = ">= 0-0"
		o.remarkMapping(m, "tags", latest, "tags that are not versions are left out; ocync takes them after the last version")
	case set.semver == "" || strings.Contains(set.semver, "-"):
	case openRange.MatchString(set.semver):
		parts := strings.Split(set.semver, ",")
		for i, part := range parts {
			parts[i] = strings.TrimSpace(part) + "-0"
		}
		set.semver = strings.Join(parts, ", ")
	default:
		o.remarkMapping(m, "tags", semver, "1.2.3-r4 and 1.2.3-alpine are pre-releases for dray, which such a range leaves out; a range such as \">= 1.2-0\" includes them")
	}
}

func ocyncTagWhy(key string) string {
	if key == "min_tags" {
		return "write it as min below tags, where it counts all tags that the mapping chooses"
	}
	return "a semver range includes pre-releases if it names one"
}
