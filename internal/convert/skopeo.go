package convert

import (
	"path"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// skopeo reads the file of `skopeo sync --src yaml`.
func (d *document) skopeo(top section, options Options) {
	options.Target = strings.TrimSuffix(strings.TrimPrefix(options.Target, "docker://"), "/")
	d.remark(value{r: top.r}, "without --all, skopeo copies its machine's platform and dray all; write platforms to keep fewer")
	d.remark(value{r: top.r}, "skopeo's --src-creds, --dest-creds and --dest-tls-verify belong in registries; dray reads the credentials of skopeo login, as it reads those of docker login")
	referrers := d.noReferrers(top)
	for _, entry := range top.entries() {
		d.skopeoRegistry(entry.name, entry.section(), options)
	}
	for _, m := range d.mappings {
		m.referrers = referrers
	}
	d.skopeoTwice()
}

// repositorySets is what a registry's sections say about one repository.
type repositorySets struct {
	at      value
	name    string
	sets    []tagSet
	digests []value
}

func (d *document) skopeoRegistry(name string, s section, options Options) {
	if r := d.registry(s.value, name); r != nil {
		d.skopeoAccess(r, s)
	}
	for _, repository := range skopeoRepositories(s) {
		ref, err := image.Parse(name + "/" + repository.name)
		if err != nil || ref.Tag != "" || ref.Digest != "" {
			s.r.fail(repository.at, "write the path of a repository", "%q is not a repository", repository.name)
			continue
		}
		target := options.Target + "/" + path.Base(ref.Path)
		if options.Scoped {
			target = options.Target + "/" + ref.Repository.String()
		}
		m := mapping{at: repository.at, source: ref.Repository.String(), targets: []string{target}}
		for _, digest := range repository.digests {
			one := m
			one.source, one.targets = m.source+"@"+digest.text(), []string{target + ":" + pinnedTag(digest.text())}
			d.remarkMapping(&one, "target", digest, "no equivalent: skopeo sets no tag; dray needs one, so this tag is derived from the digest")
			d.add(&one)
		}
		if len(repository.sets) > 0 {
			d.addSets(m, repository.sets)
		}
	}
	for _, v := range s.rest() {
		d.remark(v.value, "no equivalent: dray convert does not know this key")
	}
}

// skopeoAccess reads how to talk to the registry.
func (d *document) skopeoAccess(r *registry, s section) {
	login := s.get("credentials").section()
	username, password := escape(login.get("username").text()), ""
	if v := login.get("password"); v.text() != "" {
		password = d.secret(r, v)
	}
	d.credentials(r, login.value, username, password)
	for _, v := range login.rest() {
		d.remarkRegistry(r, v.value, "no equivalent: use username and password, or docker login; it was not copied")
	}
	if v := s.get("tls-verify"); v.set() && !v.boolean() {
		d.insecure(r, v)
	}
	if v := s.get("cert-dir"); v.text() != "" {
		d.remarkRegistry(r, v, "no equivalent: a folder; name its files in tls as caFile (*.crt), certFile (*.cert) and keyFile (*.key); here it is %s", v.text())
	}
}

// skopeoRepositories puts together what the three sections say about each repository, in the order of the file.
func skopeoRepositories(s section) []*repositorySets {
	var list []*repositorySets
	of := func(at named) *repositorySets {
		for _, r := range list {
			if r.name == at.name {
				return r
			}
		}
		list = append(list, &repositorySets{at: at.value, name: at.name})
		return list[len(list)-1]
	}
	for _, entry := range s.get("images").section().entries() {
		r := of(entry)
		var tags []string
		refs := entry.list()
		for _, ref := range refs {
			if _, err := image.ParseDigest(ref.text()); err == nil {
				r.digests = append(r.digests, ref)
			} else if tag := ref.text(); image.ValidTag(tag) {
				tags = append(tags, tag)
			} else {
				ref.r.fail(ref, "write a tag or a digest", "%q is neither a tag nor a digest", tag)
			}
		}
		if len(tags) > 0 || len(refs) == 0 {
			r.sets = append(r.sets, tagSet{include: unique(tags)})
		}
	}
	for _, entry := range s.get("images-by-tag-regex").section().entries() {
		r := of(entry)
		r.sets = append(r.sets, tagSet{include: []string{compiled(entry.value, entry.text())}})
	}
	for _, entry := range s.get("images-by-semver").section().entries() {
		r := of(entry)
		r.sets = append(r.sets, tagSet{semver: entry.text()})
	}
	return list
}

// skopeoTwice says which mappings have the same target, as skopeo puts all repositories of one name into one.
func (d *document) skopeoTwice() {
	first := map[string]*mapping{}
	for _, m := range d.mappings {
		target, _, _ := splitReference(m.targets[0])
		source, _, _ := splitReference(m.source)
		other, taken := first[target]
		if !taken {
			first[target] = m
			continue
		}
		if name, _, _ := splitReference(other.source); name != source {
			d.remarkMapping(m, "target", m.at, "the mapping %q has the same target repository; dray refuses a tag that both write", other.name)
		}
	}
}
