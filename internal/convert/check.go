package convert

import (
	"regexp"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/schedule"
	"github.com/draysync/dray/internal/tagfilter"
)

// check makes sure that dray can read the document: a reference that it cannot is an error, anything else becomes a comment.
func (d *document) check() {
	for _, m := range d.mappings {
		if m.disabled {
			continue
		}
		d.checkReferences(m)
		d.checkTargets(m)
		d.checkRepositories(m)
		d.checkOptions(m)
		for _, set := range m.sets {
			if _, err := tagfilter.Compile(set.spec()); err != nil {
				d.disable(m, m.at, "no equivalent: dray cannot read the tag filter (%v); rewrite it", err)
				break
			}
		}
	}
	d.checkOverlaps()
	for _, r := range slices.Clone(d.registries) {
		d.checkRegistry(r)
	}
}

func (d *document) checkReferences(m *mapping) {
	for _, ref := range append([]string{m.source}, m.targets...) {
		if strings.Contains(ref, "${") && !image.HoldsUserinfo(ref) {
			continue
		}
		var err error
		if len(m.repositories) > 0 {
			_, err = image.ParsePrefix(ref)
		} else {
			_, err = image.Parse(ref)
		}
		if err != nil {
			m.at.r.fail(m.at, "fix it there, or remove it", "%w", err)
		}
	}
}

// checkTargets leaves out a target in the source's own repository: other tools set a second tag there, dray never does.
func (d *document) checkTargets(m *mapping) {
	source, target := m.source, m.targets
	m.targets = slices.DeleteFunc(slices.Clone(target), func(ref string) bool { return sameRepository(source, ref, len(m.repositories) > 0) })
	switch len(m.targets) {
	case len(target):
	case 0:
		m.targets = target
		d.disable(m, m.at, "no equivalent: its target is its source repository, and dray copies only between repositories")
	default:
		d.remarkMapping(m, "target", m.at, "no equivalent: one of its targets is the source repository; that target was left out")
	}
}

func (d *document) checkRepositories(m *mapping) {
	for _, name := range m.repositories {
		if strings.ContainsAny(name, "*?[") {
			continue
		}
		if _, err := image.ParsePrefix("registry.example/" + name); err != nil {
			d.disable(m, m.at, "no equivalent: %q is not a repository path", name)
			return
		}
	}
}

var artifactType = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$`)

func (d *document) checkOptions(m *mapping) {
	seen := map[image.Platform]bool{}
	m.platforms = slices.DeleteFunc(slices.Clone(m.platforms), func(text string) bool {
		p, err := image.ParsePlatform(text)
		if err != nil {
			d.remarkMapping(m, "platforms", m.at, "no equivalent: the platform %q; write os/arch or os/arch/variant", text)
			return true
		}
		twice := seen[p]
		seen[p] = true
		return twice
	})
	m.referrers = slices.DeleteFunc(slices.Clone(m.referrers), func(text string) bool {
		bad := text != "true" && text != "false" && !artifactType.MatchString(text)
		if bad {
			d.remarkMapping(m, "referrers", m.at, "no equivalent: %q is not an artifact type", text)
		}
		return bad
	})
	if _, err := schedule.Parse(m.schedule, m.timezone); err != nil {
		d.remarkMapping(m, "schedule", m.at, "no equivalent: the schedule %q (%v); write another", m.schedule, err)
		m.schedule, m.timezone = "", ""
	}
}

// checkRegistry moves what holds for a host from a part of it to the host.
func (d *document) checkRegistry(r *registry) {
	if name, _, part := strings.Cut(r.key, "/"); part {
		whole := d.registry(value{}, name)
		whole.plainHTTP = whole.plainHTTP || r.plainHTTP
		whole.skipVerify = whole.skipVerify || r.skipVerify
		whole.concurrency, whole.perSecond, whole.keep = max(whole.concurrency, r.concurrency), max(whole.perSecond, r.perSecond), max(whole.keep, r.keep)
		if whole.caFile == "" && whole.certFile == "" {
			whole.caFile, whole.certFile, whole.keyFile = r.caFile, r.certFile, r.keyFile
		}
		*r = registry{key: r.key, username: r.username, password: r.password, remarks: r.remarks}
		d.checkRegistry(whole)
		return
	}
	if r.plainHTTP && (r.skipVerify || r.caFile != "" || r.certFile != "") {
		d.remarkRegistry(r, value{}, "one entry turned TLS off and another set certificates; this keeps plainHTTP only")
		r.skipVerify, r.caFile, r.certFile, r.keyFile = false, "", "", ""
	}
}
