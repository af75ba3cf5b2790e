package convert

import (
	"regexp"
	"slices"
	"strings"
)

// imageSyncer reads the config of Alibaba's image-syncer: one file with both parts, or one for each.
func (d *document) imageSyncer(inputs []input) {
	var credentials []section
	var images []value
	for _, in := range inputs {
		top := in.top
		switch in.shape {
		case shapeCredentials:
			credentials = append(credentials, top)
		case shapeImages:
			images = append(images, top.value)
		default:
			credentials = append(credentials, top.get("auth").section())
			images = append(images, top.get("images"))
			for _, v := range top.rest() {
				d.remark(v.value, "no equivalent: dray convert does not know this key")
			}
		}
	}
	for _, s := range credentials {
		for _, entry := range s.entries() {
			d.imageSyncerLogin(entry)
		}
	}
	if !slices.ContainsFunc(images, value.set) && len(inputs) == 1 {
		inputs[0].r.fail(value{r: inputs[0].r}, "give both files: dray convert auth.yaml images.yaml", "has credentials only")
		return
	}
	for _, v := range images {
		d.imageSyncerImages(v.section())
	}
	d.remark(value{r: inputs[0].r}, "image-syncer's --os and --arch belong in platforms; without them it copies all platforms, as dray does")
	referrers := d.noReferrers(inputs[0].top)
	for _, m := range d.mappings {
		m.referrers = referrers
	}
}

var shellVariable = regexp.MustCompile(`^\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))$`)

// variable turns $NAME or ${NAME} as a whole into dray's reference.
func variable(text string) (string, bool) {
	found := shellVariable.FindStringSubmatch(text)
	if found == nil {
		return "", false
	}
	return "${env:" + found[1] + found[2] + "}", true
}

// imageSyncerLogin is one registry, or a part of one.
func (d *document) imageSyncerLogin(entry named) {
	r := d.registry(entry.value, entry.name)
	if r == nil {
		return
	}
	s := entry.section()
	d.credentials(r, entry.value, orVariable(s.get("username")), d.orSecret(r, s.get("password")))
	if v := s.get("insecure"); v.boolean() {
		if host, _, part := strings.Cut(r.key, "/"); part {
			r = d.registry(v, host)
		}
		r.plainHTTP = true
		d.remarkRegistry(r, v, "assumed to be a registry without TLS; if it has TLS, write tls: {insecureSkipVerify: true} instead of plainHTTP")
	}
	for _, v := range s.rest() {
		d.remarkRegistry(r, v.value, "no equivalent: dray convert does not know this key")
	}
}

func orVariable(v value) string {
	if ref, ok := variable(v.text()); ok {
		return ref
	}
	return escape(v.text())
}

// orSecret keeps a secret that is a variable as a whole, and copies no other.
func (d *document) orSecret(r *registry, v value) string {
	if ref, ok := variable(v.text()); ok || v.text() == "" {
		return ref
	}
	return d.secret(r, v)
}

// rule is what image-syncer brings from one repository to the same targets.
type rule struct {
	at      value
	source  string
	targets []string
	sets    []tagSet
	renamed bool // one tag, that gets another name
	digest  bool
}

// imageSyncerImages reads the rules. Those of one repository and the same targets become one mapping.
func (d *document) imageSyncerImages(s section) {
	var rules []*rule
	for _, entry := range s.entries() {
		for _, r := range d.imageSyncerRule(entry) {
			same := func(other *rule) bool {
				return other.source == r.source && slices.Equal(other.targets, r.targets) && !other.renamed && !r.renamed
			}
			if i := slices.IndexFunc(rules, same); i >= 0 {
				rules[i].sets = append(rules[i].sets, r.sets...)
				continue
			}
			rules = append(rules, r)
		}
	}
	for _, r := range rules {
		m := mapping{at: r.at, source: r.source, targets: r.targets}
		if r.digest {
			d.remarkMapping(&m, "target", r.at, "no equivalent: image-syncer sets no tag; dray needs one, so this tag is derived from the digest")
		}
		if r.renamed {
			d.add(&m)
			continue
		}
		d.addSets(m, r.sets)
	}
}

// imageSyncerRule reads one source with its targets.
func (d *document) imageSyncerRule(entry named) []*rule {
	repository, tags, digest := imageSyncerSource(entry.name)
	var plainTargets []string
	var rules []*rule
	targets := entry.list()
	if len(entry.texts()) == 0 {
		entry.r.fail(entry.value, "write the target, which image-syncer builds from --registry and --namespace", "has no target")
	}
	for _, v := range targets {
		to, toTag, toDigest := splitReference(d.expandVariables(v))
		switch {
		case digest != "":
			tag := toTag
			if tag == "" {
				tag = pinnedTag(digest)
			}
			rules = append(rules, &rule{at: v, source: repository + "@" + digest, targets: []string{to + ":" + tag}, renamed: true, digest: toTag == ""})
		case toTag == "" && toDigest == "":
			plainTargets = append(plainTargets, to)
		case len(tags) == 1 && literal(tags[0]) && toDigest == "":
			rules = append(rules, &rule{at: v, source: repository + ":" + tags[0], targets: []string{to + ":" + toTag}, renamed: true})
		default:
			entry.r.fail(v, "remove the target's tag", "the target has a tag, but the source is not a single tag")
		}
	}
	if len(plainTargets) > 0 {
		rules = append(rules, &rule{at: entry.value, source: repository, targets: unique(plainTargets), sets: imageSyncerTags(entry, tags)})
	}
	return rules
}

// imageSyncerSource cuts a source into its repository and a list of tags, one expression between slashes, or a digest.
func imageSyncerSource(source string) (repository string, tags []string, digest string) {
	if name, re, found := strings.Cut(source, ":/"); found && strings.HasSuffix(re, "/") {
		return name, []string{"/" + re}, ""
	}
	first, more, listed := strings.Cut(source, ",")
	repository, tag, digest := splitReference(first)
	if tag != "" {
		tags = append(tags, tag)
	}
	if listed {
		tags = append(tags, strings.Split(more, ",")...)
	}
	return repository, tags, digest
}

func imageSyncerTags(at named, tags []string) []tagSet {
	if len(tags) == 1 && strings.HasPrefix(tags[0], "/") {
		return []tagSet{{include: []string{compiled(at.value, tags[0][1:len(tags[0])-1])}}}
	}
	return []tagSet{{include: unique(tags)}}
}

var anyVariable = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)

// expandVariables turns each $NAME and ${NAME} into dray's reference.
func (d *document) expandVariables(v value) string {
	return anyVariable.ReplaceAllString(v.text(), "$${env:$1$2}")
}
