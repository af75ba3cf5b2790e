package convert

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// dregsy reads the config of xelalexv's dregsy.
func (d *document) dregsy(top section) {
	referrers := d.noReferrers(top)
	for _, task := range top.get("tasks").list() {
		d.dregsyTask(task.section(), referrers)
	}
	for _, v := range top.rest() {
		d.remark(v.value, "no equivalent: %s", dregsyWhy(v.name))
	}
}

func dregsyWhy(key string) string {
	switch key {
	case "relay", "skopeo", "docker", "dockerhost", "api-version":
		return "dray copies images itself, without a relay; certificates belong in registries.HOST.tls"
	case "lister":
		return "dray lists repositories by the registry's catalog"
	case "watch":
		return "dray run always follows its config file"
	}
	return "dray convert does not know this key"
}

// dregsyTask is a pair of registries with what to copy between them.
func (d *document) dregsyTask(task section, referrers []string) {
	base := mapping{at: task.value, options: options{referrers: referrers}}
	interval := task.get("interval")
	d.every(&base, interval, time.Duration(max(interval.integer(), 0))*time.Second)
	name := task.get("name").text()
	if v := task.get("verbose"); v.boolean() {
		d.remark(v, "no equivalent per task; set log.level: debug for all")
	}
	if v := task.get("mappings_file"); v.set() {
		d.remark(v, "no equivalent: mappings in another file; copy them here")
	}
	source := d.dregsyLocation(task.get("source"))
	target := d.dregsyLocation(task.get("target"))
	if source == "" || target == "" {
		return
	}
	for _, v := range task.get("mappings").list() {
		m := base
		m.at = v
		d.dregsyMapping(v.section(), m, name, source, target)
	}
	for _, v := range task.rest() {
		d.remark(v.value, "no equivalent: dray convert does not know this key")
	}
}

// dregsyLocation reads one side of a task, and returns its registry.
func (d *document) dregsyLocation(v value) string {
	s := v.section()
	name := s.get("registry").text()
	if _, registry, account := strings.Cut(name, "@"); account { // an account before a public registry of AWS
		name = registry
	}
	if name == "" {
		s.r.fail(s.get("registry"), "write the registry's host", "is missing")
		return ""
	}
	r := d.registry(s.get("registry"), name)
	if r == nil {
		return name
	}
	switch auth := s.get("auth"); auth.text() {
	case "":
	case "none":
		d.remarkRegistry(r, auth, "without a username here, dray uses the credentials of docker login, or else none")
	default:
		d.dregsyAuth(r, auth)
	}
	if v := s.get("auth-refresh"); v.set() {
		d.remarkRegistry(r, v, "no equivalent: name docker-credential-ecr-login in credHelpers of Docker's config.json, which dray reads")
	}
	if v := s.get("skip-tls-verify"); v.boolean() {
		d.insecure(r, v)
	}
	if v := s.get("lister"); v.set() {
		d.remarkRegistry(r, v, "no equivalent: dray lists repositories by the registry's catalog, and Docker Hub has none; name the repositories")
	}
	for _, v := range s.rest() {
		d.remarkRegistry(r, v.value, "no equivalent: dray convert does not know this key")
	}
	return name
}

// insecure is a registry whose certificate is not checked. On this machine that most often means one without TLS.
func (d *document) insecure(r *registry, at value) {
	if loopback(r.key) {
		r.plainHTTP = true
		d.remarkRegistry(r, at, "assumed to be a registry without TLS; if it has TLS, write tls: {insecureSkipVerify: true} instead of plainHTTP")
		return
	}
	if !r.plainHTTP {
		r.skipVerify = true
		d.remarkRegistry(r, at, "dray accepts any certificate; if the registry has no TLS, write plainHTTP: true instead of tls")
	}
}

// dregsyAuth decodes the base64 of {"username": …, "password": …}. The password is not copied.
func (d *document) dregsyAuth(r *registry, v value) {
	var login struct{ Username, Password string }
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(v.text()))
	if err == nil {
		err = json.Unmarshal(data, &login)
	}
	switch {
	case err != nil:
		d.remarkRegistry(r, v, "no equivalent: not base64 of JSON with username and password; it was not copied")
	case login.Username == "" || login.Password == "":
		d.remarkRegistry(r, v, "username or password is missing; dray uses the credentials of docker login, or else none")
	case r.username == login.Username:
	default:
		d.credentials(r, v, escape(login.Username), d.secret(r, v))
	}
}

// dregsyMapping is an entry of a task's mappings.
func (d *document) dregsyMapping(s section, m mapping, task, source, target string) {
	from, to := s.get("from").text(), s.get("to").text()
	if from == "" {
		s.r.fail(s.get("from"), "write the path at the source", "is missing")
		return
	}
	d.dregsyPlatform(s.get("platform"), &m)
	s.get("preserve-digests") // dray always does
	tags, digests := s.get("tags"), s.get("digests")
	for _, v := range s.rest() {
		d.remarkMapping(&m, "", v.value, "no equivalent: dray convert does not know this key")
	}
	if strings.HasPrefix(from, "regex:") || strings.HasPrefix(to, "regex:") {
		d.dregsyMatching(s, m, task, source, target, tags)
		return
	}
	from = strings.Trim(from, "/")
	if to = strings.Trim(to, "/"); to == "" {
		to = from
	}
	m.name = task + "/" + from
	m.source, m.targets = source+"/"+from, []string{target + "/" + to}
	for _, digest := range digests.list() {
		one := m
		one.source += "@" + digest.text()
		one.targets = []string{m.targets[0] + ":" + pinnedTag(digest.text())}
		d.remarkMapping(&one, "target", digest, "no equivalent: dregsy sets no tag; dray needs one, so this tag is derived from the digest")
		d.add(&one)
	}
	if len(digests.list()) == 0 || len(tags.list()) > 0 {
		sets := d.dregsyTags(&m, tags)
		d.addSets(m, sets)
	}
}

func (d *document) dregsyPlatform(v value, m *mapping) {
	switch v.text() {
	case "all":
	case "":
		const text = "without platform, dregsy copies its machine's platform and dray all; write platforms to keep fewer"
		if !d.noted(text) {
			d.remark(value{r: m.at.r}, text)
		}
	default:
		m.platforms = []string{v.text()}
		d.remarkMapping(m, "platforms", v, "dregsy copies the platform's manifest; dray copies an index with this platform only, which has another digest")
	}
}

// noted tells whether a note with this text is there.
func (d *document) noted(text string) bool {
	for _, n := range d.notes {
		if n.Text == text {
			return true
		}
	}
	return false
}

// dregsyMatching is a mapping whose paths are regular expressions.
func (d *document) dregsyMatching(s section, m mapping, task, source, target string, tags value) {
	from, to := s.get("from").text(), s.get("to").text()
	glob, ok := pathGlob(strings.TrimPrefix(from, "regex:"))
	prefix, rest, found := strings.Cut(glob, "/")
	m.name = task
	to = strings.Trim(to, "/")
	if !ok || !found || strings.ContainsAny(prefix, "*?") || strings.HasPrefix(to, "regex:") || !strings.HasPrefix(from, "regex:") {
		m.source, m.targets, m.repositories, m.sets = source+"/PATH", []string{target + "/PATH"}, []string{"*"}, []tagSet{{}}
		d.disable(&m, s.value, "no equivalent: from %q to %q; name a path and repositories below it, or globs (* does not match a slash)", from, to)
		d.add(&m)
		return
	}
	if to != "" {
		to += "/"
	}
	m.name = task + "/" + prefix
	m.source, m.targets, m.repositories = source+"/"+prefix, []string{target + "/" + to + prefix}, []string{rest}
	if strings.Contains(rest, "*") {
		d.remarkMapping(&m, "repositories", s.get("from"), "* does not match a slash, as .* does")
	}
	sets := d.dregsyTags(&m, tags)
	d.addSets(m, sets)
}

// latestCount is what dregsy reads after keep: as a number of tags.
var latestCount = regexp.MustCompile(`^latest\s+([0-9]+)$`)

// dregsyTags reads the tags, of which an image's has to satisfy one; those that are not named have to satisfy all that begin with keep:
// besides.
func (d *document) dregsyTags(m *mapping, v value) []tagSet {
	var sets []tagSet
	var keep, drop []string
	var count value
	for _, entry := range v.list() {
		text := entry.text()
		kind, rest, marked := strings.Cut(text, ":")
		rest = strings.TrimSpace(rest)
		re, inverted := strings.CutPrefix(rest, "!")
		switch {
		case !marked:
			sets = append(sets, tagSet{include: []string{escape(text)}})
		case kind == "semver":
			sets = append(sets, tagSet{semver: d.dregsyRange(m, entry, rest)})
		case kind == "regex" && inverted:
			sets = append(sets, tagSet{exclude: []string{compiled(entry, lineMatch(re))}})
		case kind == "regex" && re == ".*":
			sets = append(sets, tagSet{})
		case kind == "regex":
			sets = append(sets, tagSet{include: []string{compiled(entry, lineMatch(re))}})
		case kind == "keep" && latestCount.MatchString(rest):
			count = entry // the last one counts
		case kind == "keep" && inverted:
			drop = append(drop, compiled(entry, lineMatch(re)))
		case kind == "keep":
			keep = append(keep, patterns([]string{compiled(entry, lineMatch(re))})...)
		default:
			entry.r.fail(entry, "write a tag, or regex:, semver: or keep: with its expression", "%q is not a tag", text)
		}
	}
	if len(sets) == 0 {
		sets = []tagSet{{}}
	}
	d.dregsyKeep(m, v, sets, keep, drop)
	d.dregsyCount(m, count, sets)
	return sets
}

// dregsyCount keeps only the newest of what has been chosen.
func (d *document) dregsyCount(m *mapping, at value, sets []tagSet) {
	found := latestCount.FindStringSubmatch(strings.TrimSpace(strings.TrimPrefix(at.text(), "keep:")))
	if found == nil {
		return
	}
	newest, err := strconv.Atoi(found[1])
	if err != nil || newest == 0 {
		return // for dregsy, 0 is no limit
	}
	counted := 0
	for i := range sets {
		set := &sets[i]
		if set.named() {
			continue
		}
		counted++
		set.newest = newest
		if set.semver == "" {
			set.semver = ">= 0-0"
			d.remarkMapping(m, "tags", at, "tags that are not versions are left out; dregsy takes them all")
		}
	}
	if counted > 1 {
		d.remarkMapping(m, "tags", at, "no equivalent: the newest of several filters together; this keeps that many of each")
	}
}

// dregsyRange reads a range of versions.
func (d *document) dregsyRange(m *mapping, at value, text string) string {
	ranges, err := ordered(text)
	if err != nil {
		d.remarkMapping(m, "tags", at, "no equivalent: %v; this is the original range, which takes no pre-releases", err)
		return text
	}
	d.remarkOrdered(m, at)
	return ranges
}

// lineMatch anchors an expression as dregsy does.
func lineMatch(re string) string {
	if !strings.HasPrefix(re, "^") {
		re = "^" + re
	}
	if !strings.HasSuffix(re, "$") {
		re += "$"
	}
	return re
}

// dregsyKeep narrows all sets but those of one tag that is named. What has to match two expressions cannot be written, and stays wider.
func (d *document) dregsyKeep(m *mapping, v value, sets []tagSet, keep, drop []string) {
	wider := len(keep) > 1
	for i := range sets {
		set := &sets[i]
		if set.named() {
			continue
		}
		set.exclude = append(set.exclude, drop...)
		switch {
		case len(keep) == 0:
		case len(set.include) == 0:
			set.include = keep[:1]
		default:
			wider = true
		}
	}
	if wider {
		d.remarkMapping(m, "tags", v, "no equivalent: tags that must match two expressions (keep:); this chooses more tags: combine the two into one")
	}
}
