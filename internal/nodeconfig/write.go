package nodeconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// Formats returns the names of the formats.
func Formats() []string {
	return []string{"containerd", "podman", "docker", "k3s", "rke2", "idms", "kyverno"}
}

// head begins a file that may have comments.
const head = "# Written by dray mirrors from the mappings of a config; write it again when these change.\n"

// writer writes one format.
type writer struct {
	rules []rule
	// plain reports whether a registry is reached without TLS.
	plain func(registry string) bool
	notes []Note
}

// Write writes the files of a format that make nodes pull from the targets of jobs, and notes about what it cannot say. plain reports whether a
// registry is reached without TLS.
func Write(format string, jobs []plan.Job, plain func(registry string) bool) (files []File, notes []Note) {
	rules, notes := rulesOf(jobs)
	w := &writer{rules: rules, plain: plain, notes: notes}
	switch format {
	case "containerd":
		files = w.containerd()
	case "podman":
		files = w.podman()
	case "docker":
		files = w.docker()
	case "k3s", "rke2":
		files = w.rancher(format)
	case "idms":
		files = w.openshift()
	case "kyverno":
		files = w.kyverno()
	}
	var once []Note
	for _, n := range w.notes {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	return files, once
}

func (w *writer) note(notes ...Note) { w.notes = append(w.notes, notes...) }

func (w *writer) url(registry string) string {
	if w.plain(registry) {
		return "http://" + registry
	}
	if registry == image.DockerHub {
		return "https://registry-1.docker.io"
	}
	return "https://" + registry
}

// roots returns the places that have a registry's repositories under their own paths: what stands before the source's path in that of the target.
func (w *writer) roots(registry string) (roots []image.Repository) {
	for _, r := range w.rules {
		if r.from.Registry != registry {
			continue
		}
		before, ok := strings.CutSuffix("/"+r.to.Path, "/"+r.from.Path)
		if !ok {
			w.note(Note{r.mapping, fmt.Sprintf("cannot be said: the path of %s does not end with that of %s, and this format adds the source's path to a prefix", r.to, r.from)})
			continue
		}
		root := image.Repository{Registry: r.to.Registry, Path: strings.TrimPrefix(before, "/")}
		whole := image.Repository{Registry: registry}
		if other := mixed(w.rules, whole, root); other != nil {
			w.note(mixedNote(r, whole, root, other))
			continue
		}
		if other := w.retagged(registry, root); other != nil {
			w.note(retaggedNote(r, other))
			continue
		}
		if !slices.Contains(roots, root) {
			roots = append(roots, root)
		}
	}
	return roots
}

// retagged returns a rule that puts a repository of a registry under its own path below root with other tags; nil for none. Nodes would get one
// tag's image for another's.
func (w *writer) retagged(registry string, root image.Repository) *rule {
	for i, r := range w.rules {
		if r.from.Registry == registry && !r.hasTags() && r.to.Registry == root.Registry && r.to.Path == join(root.Path, r.from.Path) {
			return &w.rules[i]
		}
	}
	return nil
}

func retaggedNote(r rule, other *rule) Note {
	return Note{r.mapping, fmt.Sprintf("cannot be said: nodes would look for tags at %s, where the mapping %q gives them other names", other.to, other.mapping)}
}

// containerd writes a hosts.toml for each source registry: https://github.com/containerd/containerd/blob/main/docs/hosts.md.
func (w *writer) containerd() (files []File) {
	for _, registry := range registries(w.rules) {
		roots := w.roots(registry)
		if len(roots) == 0 {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%sserver = %q\n", head, w.url(registry))
		for _, root := range roots {
			host, more := w.url(root.Registry), ""
			if root.Path != "" {
				host, more = host+"/v2/"+root.Path, "  override_path = true\n"
			}
			fmt.Fprintf(&b, "\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n%s", host, more)
		}
		files = append(files, File{path.Join("/etc/containerd/certs.d", registry, "hosts.toml"), b.String()})
	}
	return files
}

// docker writes the mirrors of Docker Hub, which can be whole registries only.
func (w *writer) docker() []File {
	var mirrors []string
	for _, r := range w.rules {
		if r.from.Registry != image.DockerHub {
			w.note(Note{r.mapping, "cannot be said: Docker has mirrors of docker.io only, and the source is " + r.from.String()})
		}
	}
	for _, root := range w.roots(image.DockerHub) {
		if root.Path != "" {
			for _, r := range w.rules {
				if r.from.Registry == image.DockerHub && r.to.Registry == root.Registry && r.to.Path == join(root.Path, r.from.Path) {
					w.note(Note{r.mapping, fmt.Sprintf("cannot be said: a mirror of Docker's is a whole registry, and %s is below the path %s", r.to, root.Path)})
				}
			}
			continue
		}
		mirrors = append(mirrors, w.url(root.Registry))
	}
	if len(mirrors) == 0 {
		return nil
	}
	text, err := json.MarshalIndent(map[string][]string{"registry-mirrors": mirrors}, "", "  ")
	if err != nil {
		return nil // texts always have a form in JSON
	}
	return []File{{"/etc/docker/daemon.json", string(text) + "\n"}}
}

// apart returns the rules of which each can be said by itself, with the targets of each source together.
func (w *writer) apart() (sources []rule, targets map[image.Repository][]rule) {
	targets = map[image.Repository][]rule{}
	for _, r := range sorted(w.rules) {
		if other := mixed(w.rules, r.from, r.to); other != nil {
			w.note(mixedNote(r, r.from, r.to, other))
			continue
		}
		if len(targets[r.from]) == 0 {
			sources = append(sources, r)
		}
		if !slices.ContainsFunc(targets[r.from], func(t rule) bool { return t.to == r.to }) {
			targets[r.from] = append(targets[r.from], r)
		}
	}
	return sources, targets
}

// podman writes a file for podman, CRI-O, buildah and skopeo: containers-registries.conf(5).
func (w *writer) podman() []File {
	sources, targets := w.apart()
	if len(sources) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(head)
	for _, s := range sources {
		fmt.Fprintf(&b, "\n[[registry]]\nprefix = %q\nlocation = %q\n", named(s.from), named(s.from))
		if w.plain(s.from.Registry) {
			b.WriteString("insecure = true\n")
		}
		for _, r := range targets[s.from] {
			w.note(r.only()...)
			fmt.Fprintf(&b, "\n[[registry.mirror]]\nlocation = %q\n", named(r.to))
			if w.plain(r.to.Registry) {
				b.WriteString("insecure = true\n")
			}
			if !r.hasTags() {
				b.WriteString("pull-from-mirror = \"digest-only\"\n")
			}
		}
	}
	return []File{{"/etc/containers/registries.conf.d/50-dray.conf", b.String()}}
}

// rancher writes the file of K3s and RKE2: https://docs.k3s.io/installation/private-registry. A registry's rewrites hold for all of its endpoints, and a
// path that none matches is asked for as it is.
func (w *writer) rancher(format string) []File {
	sources, targets := w.apart()
	endpoints := map[string]string{} // the target's registry, by source registry
	for _, r := range w.rules {
		if endpoints[r.from.Registry] == "" && slices.Contains(targets[r.from], r) {
			endpoints[r.from.Registry] = r.to.Registry
		}
	}
	rewrites := map[string]map[string]string{} // by source registry
	for _, s := range sources {
		registry := s.from.Registry
		for _, r := range w.fitting(targets[s.from], endpoints[registry]) {
			if rewrites[registry] == nil {
				rewrites[registry] = map[string]string{}
			}
			pattern, by := "^"+regexp.QuoteMeta(r.from.Path)+"$", r.to.Path
			if r.below {
				pattern, by = "^"+regexp.QuoteMeta(r.from.Path)+"/(.*)$", r.to.Path+"/$1"
			}
			rewrites[registry][pattern] = by
		}
	}
	if len(rewrites) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(head + "mirrors:\n")
	for _, registry := range slices.Sorted(maps.Keys(rewrites)) {
		fmt.Fprintf(&b, "  %s:\n    endpoint:\n      - %s\n    rewrite:\n", quoted(registry), quoted(w.url(endpoints[registry])))
		for _, pattern := range slices.Sorted(maps.Keys(rewrites[registry])) {
			fmt.Fprintf(&b, "      %s: %s\n", quoted(pattern), quoted(rewrites[registry][pattern]))
		}
	}
	return []File{{"/etc/rancher/" + format + "/registries.yaml", b.String()}}
}

// fitting returns the rule of a source that can be said with this endpoint; there is one at most.
func (w *writer) fitting(rules []rule, endpoint string) (one []rule) {
	for _, r := range rules {
		whole, at := image.Repository{Registry: r.from.Registry}, image.Repository{Registry: r.to.Registry}
		if len(one) > 0 || endpoint != r.to.Registry {
			w.note(Note{r.mapping, fmt.Sprintf("does not say %s: a registry has one target here, which is %s for %s, and a repository one place", r.to, endpoint, r.from.Registry)})
		} else if !r.hasTags() {
			w.note(retaggedNote(r, &r))
		} else if other := w.retagged(r.from.Registry, at); other != nil {
			w.note(retaggedNote(r, other))
		} else if other := w.unmatched(whole, at); other != nil {
			w.note(mixedNote(r, whole, at, other))
		} else {
			one = append(one, r)
		}
	}
	return one
}

// unmatched returns a rule that puts another registry's repository under its own path where a node looks for that of from, which nothing rewrites; nil
// for none.
func (w *writer) unmatched(from, to image.Repository) *rule {
	for i, r := range w.rules {
		if r.to.Registry != to.Registry || r.from.Registry == from.Registry || r.from.Path != r.to.Path {
			continue
		}
		if !slices.ContainsFunc(w.rules, func(o rule) bool {
			_, below := rest(r.to.Path, o.from.Path)
			return o.from.Registry == from.Registry && (o.from.Path == r.to.Path || o.below && below)
		}) {
			return &w.rules[i]
		}
	}
	return nil
}

// quoted returns a text as YAML: JSON is a part of it.
func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""` // texts always have a form in JSON
	}
	return string(text)
}

// openshift writes the mirror sets of OpenShift 4.13 and later.
func (w *writer) openshift() []File {
	sources, targets := w.apart()
	var digests, tags strings.Builder
	for _, s := range sources {
		var all, tagged []string
		for _, r := range targets[s.from] {
			all = append(all, named(r.to))
			if r.hasTags() {
				tagged = append(tagged, named(r.to))
			}
			w.note(r.only()...)
		}
		entry(&digests, s.from, all)
		entry(&tags, s.from, tagged)
	}
	if digests.Len() == 0 {
		return nil
	}
	text := head + "apiVersion: config.openshift.io/v1\nkind: ImageDigestMirrorSet\nmetadata:\n  name: dray\nspec:\n  imageDigestMirrors:\n" + digests.String()
	if tags.Len() > 0 {
		text += "---\napiVersion: config.openshift.io/v1\nkind: ImageTagMirrorSet\nmetadata:\n  name: dray\nspec:\n  imageTagMirrors:\n" + tags.String()
	}
	return []File{{"image-mirror-sets.yaml", text}}
}

func entry(b *strings.Builder, source image.Repository, mirrors []string) {
	if len(mirrors) == 0 {
		return
	}
	fmt.Fprintf(b, "    - source: %s\n      mirrors:\n", quoted(named(source)))
	for _, m := range mirrors {
		fmt.Fprintf(b, "        - %s\n", quoted(m))
	}
}
