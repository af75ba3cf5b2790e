package convert

import (
	"slices"
	"strings"
	"time"
)

// regsync reads the config of regclient's regsync.
func (d *document) regsync(top section) {
	for _, entry := range top.get("creds").list() {
		d.regsyncHost(entry.section())
	}
	defaults := top.get("defaults").section()
	for _, entry := range top.get("sync").list() {
		d.regsyncStep(regsyncStep{section: entry.section(), defaults: defaults})
	}
	d.regsyncGeneral(defaults)
	top.get("version")
	for _, v := range top.rest() {
		if !strings.HasPrefix(v.name, "x-") {
			d.remark(v.value, "no equivalent: dray convert does not know this key")
		}
	}
}

// regsyncGeneral is what defaults say that no step says.
func (d *document) regsyncGeneral(defaults section) {
	if v := defaults.get("parallel"); v.integer() > 0 {
		d.jobs = min(v.integer(), 64)
		d.remark(v, "jobs limits the mappings that run at once in dray run; each may import several images at once")
	}
	if v := defaults.get("ratelimit"); v.set() && v.section().get("retry").set() {
		d.remark(v.section().get("retry"), "no equivalent: dray derives its pauses from the registry's answers")
	}
	for _, v := range defaults.rest() {
		d.remark(v.value, "no equivalent: %s", regsyncWhy(v.name))
	}
}

// regsyncWhy says what dray does instead.
func regsyncWhy(key string) string {
	switch key {
	case "backup":
		return "dray keeps no copy of the image that a tag held; write moved: refuse for tags that must not move"
	case "hooks":
		return "dray runs no commands; notifications tells a webhook what was imported and what failed"
	case "mediaTypes":
		return "dray copies all Docker and OCI manifests and indexes"
	case "fastCheck":
		return "dray looks for new signatures of unchanged images every referrersInterval, 24h by default"
	case "forceRecursive":
		return "dray reads the manifests of an index only if it has changed"
	case "referrerSlow":
		return "dray finds referrers by the referrers API and by tags"
	case "referrerSource", "referrerTarget":
		return "referrers come from the source and go to the target of their image"
	case "skipDockerConfig":
		return "dray uses the credentials of docker login for registries without a username here"
	case "cacheCount", "cacheTime":
		return "dray keeps the manifests that it has read in stateDir"
	case "blobLimit":
		return "dray has no size limit for blobs"
	case "userAgent":
		return "dray's User-Agent is fixed"
	}
	return "dray convert does not know this key"
}

// regsyncHost reads an entry of creds.
func (d *document) regsyncHost(s section) {
	r := d.registry(s.get("registry"), s.get("registry").text())
	if r == nil {
		return
	}
	d.credentials(r, s.value, d.regsyncText(s.get("user")), d.regsyncSecret(r, s.get("pass")))
	switch tls := s.get("tls").text(); tls {
	case "disabled":
		r.plainHTTP = true
	case "insecure":
		r.skipVerify = true
	case "", "enabled":
	default:
		d.remarkRegistry(r, s.get("tls"), "no equivalent: the value is not enabled, insecure or disabled")
	}
	if s.get("scheme").text() == "http" {
		r.plainHTTP = true
	}
	if !r.plainHTTP {
		r.caFile = d.regsyncFile(r, s.get("regcert"))
		certFile, keyFile := d.regsyncFile(r, s.get("clientCert")), d.regsyncFile(r, s.get("clientKey"))
		if certFile != "" && keyFile != "" {
			r.certFile, r.keyFile = certFile, keyFile
		}
	}
	r.skipVerify = r.skipVerify && !r.plainHTTP
	r.concurrency = d.bound(r, s.get("reqConcurrent"), 256)
	if v := s.get("reqPerSec"); v.set() {
		whole, _, fraction := strings.Cut(v.text(), ".")
		r.perSecond = d.bound(r, value{v.r, v.key, number(v.node, whole)}, 10_000)
		if fraction && strings.Trim(v.text(), "0123456789.") == "" {
			r.perSecond = max(r.perSecond, 1)
			d.remarkRegistry(r, v, "requestsPerSecond takes whole numbers from 1; this was %s", v.text())
		}
	}
	for _, v := range s.rest() {
		d.remarkRegistry(r, v.value, "no equivalent: %s", regsyncHostWhy(v.name))
	}
}

func regsyncHostWhy(key string) string {
	switch key {
	case "hostname":
		return "dray connects to the host in the image name"
	case "credHelper", "credHost", "credExpire":
		return "name the helper in credHelpers of Docker's config.json, which dray reads"
	case "token":
		return "use username and password, or docker login; the token was not copied"
	case "repoAuth":
		return "dray asks for one token per repository if the registry wants that"
	case "blobChunk", "blobMax":
		return "dray chooses how to upload large blobs by itself"
	case "mirrors", "priority", "pathPrefix":
		return "dray convert leaves mirrors out; write those that hold the same content as registries.HOST.mirrors"
	case "api", "apiOpts":
		return "dray speaks only the OCI distribution API"
	}
	return "dray convert does not know this key"
}

// regsyncText expands a template that is no secret.
func (d *document) regsyncText(v value) string {
	text, err := expand(v.text(), nil)
	if err != nil {
		v.r.fail(v, "write the value itself, or only {{env \"NAME\"}} or {{file \"PATH\"}}", "cannot read the template: %w", err)
	}
	return text
}

// regsyncSecret keeps a secret that is a reference as a whole, and copies no other.
func (d *document) regsyncSecret(r *registry, v value) string {
	if v.text() == "" {
		return ""
	}
	text, err := expand(v.text(), nil)
	if err == nil && isReference(text) {
		return text
	}
	return d.secret(r, v)
}

// isReference tells whether a text is one ${…} and nothing else.
func isReference(text string) bool {
	return strings.HasPrefix(text, "${") && strings.IndexByte(text, '}') == len(text)-1
}

// regsyncFile returns the path of a certificate or key, which regsync has in the config as text.
func (d *document) regsyncFile(r *registry, v value) string {
	if v.text() == "" {
		return ""
	}
	text, err := expand(v.text(), nil)
	if path, ok := strings.CutPrefix(text, "${file:"); err == nil && ok && isReference(text) {
		return strings.TrimSuffix(path, "}")
	}
	d.remarkRegistry(r, v, "no equivalent: PEM text in the config; write it to a file, and the file's path to %s", tlsKey(v.key))
	return ""
}

func tlsKey(key string) string {
	switch key[strings.LastIndexByte(key, '.')+1:] {
	case "clientCert":
		return "tls.certFile"
	case "clientKey":
		return "tls.keyFile"
	}
	return "tls.caFile"
}

// bound returns a number that dray takes.
func (d *document) bound(r *registry, v value, most int) int {
	n := v.integer()
	if n > most {
		d.remarkRegistry(r, v, "it was %d; dray takes at most %d", n, most)
	}
	return max(min(n, most), 0)
}

// regsyncStep is an entry of sync. What it does not say the defaults do.
type regsyncStep struct {
	section
	defaults section
}

func (s regsyncStep) effective(key string) value {
	fallback := s.defaults.get(key)
	if own := s.get(key); own.set() {
		return own
	}
	return fallback
}

func (d *document) regsyncStep(s regsyncStep) {
	sync := map[string]any{"Source": s.get("source").text(), "Target": "", "Type": s.get("type").text(), "Platform": s.get("platform").text()}
	source := d.regsyncReference(s.get("source"), sync)
	sync["Source"] = source
	target := d.regsyncReference(s.get("target"), sync)
	if source == "" || target == "" {
		return
	}
	base := mapping{at: s.value}
	d.regsyncOptions(s, &base)
	for _, v := range s.rest() {
		if !slices.Contains([]string{"tags", "tagSets", "repos", "x-name"}, v.name) {
			d.remarkMapping(&base, "", v.value, "no equivalent: %s", regsyncWhy(v.name))
		}
	}
	switch kind := s.get("type").text(); kind {
	case "image":
		d.regsyncImage(base, source, target)
	case "repository":
		base.source, base.targets = source, []string{target}
		sets := d.regsyncTags(s, &base)
		d.addSets(base, sets)
	case "registry":
		d.regsyncRegistry(s, base, source, target)
	default:
		s.r.fail(s.get("type"), "write registry, repository or image", "%q is not a type of regsync", kind)
	}
	d.regsyncKeep(s, source)
}

// regsyncReference expands the template of a reference.
func (d *document) regsyncReference(v value, sync map[string]any) string {
	text, err := expand(v.text(), map[string]any{"Sync": sync})
	switch {
	case err != nil:
		v.r.fail(v, "write the reference itself", "cannot read the template: %w", err)
		return ""
	case text == "":
		v.r.fail(v, "write a registry and a repository", "is missing")
	}
	return text
}

// regsyncImage is one image; regsync's tag is latest on either side where none is written.
func (d *document) regsyncImage(m mapping, source, target string) {
	repository, tag, digest := splitReference(source)
	if tag == "" && digest == "" {
		source = repository + ":latest"
	}
	to, targetTag, targetDigest := splitReference(target)
	if targetDigest != "" {
		d.remarkMapping(&m, "target", m.at, "no equivalent: a digest at the target; the tag is derived from it")
		targetTag = pinnedTag(targetDigest)
	}
	if targetTag == "" {
		targetTag = "latest"
	}
	m.source, m.targets = source, []string{to + ":" + targetTag}
	d.add(&m)
}

// regsyncOptions reads what holds for all that the step brings.
func (d *document) regsyncOptions(s regsyncStep, m *mapping) {
	if v := s.get("platforms"); v.set() {
		m.platforms = unique(v.texts())
		d.remarkMapping(m, "platforms", v, "regsync copies the index unchanged, without the other platforms; dray copies an index with these platforms only, which has another digest")
	}
	if v := s.get("platform"); v.text() != "" {
		if m.platforms = []string{v.text()}; v.text() == "local" {
			m.platforms = nil
		}
		d.remarkMapping(m, "platforms", v, "regsync copies the manifest of %s; dray copies an index with this platform only, which has another digest", v.text())
	}
	d.regsyncReferrers(s, m)
	m.foreignLayers = s.effective("includeExternal").boolean()
	cron, interval := s.get("schedule"), s.get("interval")
	if cron.text() == "" && interval.duration() == 0 {
		cron, interval = s.defaults.get("schedule"), s.defaults.get("interval")
	}
	s.defaults.get("schedule")
	s.defaults.get("interval")
	if cron.text() != "" {
		d.cron(m, cron)
	} else {
		d.every(m, interval, interval.duration())
	}
	if v := s.get("ratelimit"); v.set() && v.section().get("retry").set() {
		d.remarkMapping(m, "", v.section().get("retry"), "no equivalent: dray derives its pauses from the registry's answers")
	}
}

func (d *document) regsyncReferrers(s regsyncStep, m *mapping) {
	referrers, digestTags := s.effective("referrers"), s.effective("digestTags")
	filters := s.effective("referrerFilters")
	switch {
	case !referrers.boolean() && !digestTags.boolean():
		m.referrers = []string{"false"}
		return
	case !referrers.boolean():
		d.remarkMapping(m, "referrers", digestTags, "dray copies signatures by tag (sha256-….sig) and referrers, or neither")
	}
	m.referrers = []string{"true"}
	var types []string
	for _, filter := range filters.list() {
		f := filter.section()
		if kind := f.get("artifactType").text(); kind != "" {
			types = append(types, kind)
		}
		if v := f.get("annotations"); v.set() {
			d.remarkMapping(m, "referrers", v, "no equivalent: dray chooses referrers only by artifact type")
		}
	}
	if len(types) > 0 {
		m.referrers = unique(types)
	}
}

// regsyncKeep is the limit of pulls, which dray has for a registry.
func (d *document) regsyncKeep(s regsyncStep, source string) {
	limit := s.effective("ratelimit").section().get("min")
	name := host(source)
	if limit.integer() <= 0 || name == "" {
		return
	}
	if r := d.registry(limit, name); r != nil {
		r.keep = max(r.keep, min(limit.integer(), 999_999))
	}
}

// regsyncTags reads tags and tagSets, of which a tag has to satisfy one.
func (d *document) regsyncTags(s regsyncStep, m *mapping) []tagSet {
	var sets []tagSet
	for _, entry := range append(s.get("tagSets").list(), s.get("tags")) {
		if !entry.set() {
			continue
		}
		f := entry.section()
		allow, deny, ranges := f.get("allow"), f.get("deny"), f.get("semverRange")
		if len(allow.list())+len(deny.list())+len(ranges.list()) == 0 {
			continue
		}
		set := tagSet{include: whole(allow), exclude: whole(deny)}
		if set.semver = orderedRanges(ranges); set.semver != "" {
			set.include = patterns(set.include)
			d.remarkOrdered(m, ranges)
		}
		sets = append(sets, set)
	}
	if len(sets) == 0 {
		sets = []tagSet{{}}
	}
	return sets
}

// orderedRanges reads ranges of which a version has to be in one.
func orderedRanges(v value) string {
	var list []string
	for _, entry := range v.list() {
		text, err := ordered(entry.text())
		if err != nil {
			entry.r.fail(entry, "write comparisons such as >=1.2.0 <2.0.0", "%w", err)
		}
		list = append(list, text)
	}
	return strings.Join(list, " || ")
}

// whole reads regular expressions between which and ^ and $ the tool puts nothing: in "a|b" the ^ belongs to a only.
func whole(v value) []string {
	var list []string
	for _, entry := range v.list() {
		if re := compiled(entry, "^"+entry.text()+"$"); re != "" {
			list = append(list, re)
		}
	}
	return unique(list)
}

// compiled writes an expression in dray's way; empty after an error.
func compiled(at value, re string) string {
	text, err := expression(re)
	if err != nil {
		at.r.fail(at, "fix it there", "is not a regular expression: %w", err)
	}
	return text
}

// patterns makes single tags patterns, which other parts of a filter narrow; a single tag stays whatever they say.
func patterns(include []string) []string {
	list := slices.Clone(include)
	for i, entry := range list {
		if literal(entry) {
			list[i] = "/" + strings.ReplaceAll(entry, ".", `\.`) + "/"
		}
	}
	return list
}

// addSets adds a mapping that chooses what any of the sets does.
func (d *document) addSets(m mapping, sets []tagSet) {
	m.sets = unite(sets)
	d.add(&m)
}

// every sets a schedule by its interval.
func (d *document) every(m *mapping, at value, interval time.Duration) {
	if interval <= 0 {
		return
	}
	seconds := interval.Truncate(time.Second)
	if seconds < 10*time.Second {
		seconds = 10 * time.Second
	}
	if seconds != interval {
		d.remarkMapping(m, "schedule", at, "it was %v; dray takes whole seconds, at least 10s", interval)
	}
	m.schedule = "@every " + short(seconds)
}

// short writes a duration without parts that are zero.
func short(interval time.Duration) string {
	text := interval.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// cron sets a schedule by its fields, with the time zone that may stand before them.
func (d *document) cron(m *mapping, at value) {
	m.schedule = at.text()
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		if zoned, ok := strings.CutPrefix(m.schedule, prefix); ok {
			m.timezone, m.schedule, _ = strings.Cut(zoned, " ")
			m.schedule = strings.TrimSpace(m.schedule)
			return
		}
	}
	if !strings.HasPrefix(m.schedule, "@every") && !strings.HasPrefix(m.schedule, "@hourly") && at.key != "" {
		d.localTime(at)
	}
}

// localTime says once that the time zone is another one.
func (d *document) localTime(at value) {
	const text = "dray reads hours as UTC unless timezone is set, regsync in its machine's time zone"
	if !d.noted(text) {
		d.remark(at, text)
	}
}
