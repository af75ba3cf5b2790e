package convert

import (
	"slices"
	"strings"
)

// regsyncRegistry is a step for all repositories of a registry that its expressions choose. dray's mappings begin below a
// path, so each expression has to begin with one.
func (d *document) regsyncRegistry(s regsyncStep, base mapping, source, target string) {
	repos := s.get("repos").section()
	base.name = source
	allow := repos.get("allow").list()
	if len(allow) == 0 {
		d.wholeRegistry(s, base, source, target)
		return
	}
	type group struct{ prefix, glob string }
	var groups []group
	for _, entry := range allow {
		glob, ok := pathGlob(entry.text())
		prefix, rest, found := strings.Cut(glob, "/")
		if !ok || !found || strings.ContainsAny(prefix, "*?[") {
			m := base
			m.source, m.targets, m.repositories, m.sets = source+"/PATH", []string{target + "/PATH"}, []string{"*"}, []tagSet{{}}
			d.disable(&m, entry, "no equivalent: the expression %q for repositories; name a path and repositories below it, or globs (* does not match a slash)", entry.text())
			d.add(&m)
			continue
		}
		groups = append(groups, group{prefix, rest})
	}
	var done []string
	for _, g := range groups {
		if slices.Contains(done, g.prefix) {
			continue
		}
		done = append(done, g.prefix)
		m := base
		m.name = g.prefix
		m.source, m.targets = source+"/"+g.prefix, []string{target + "/" + g.prefix}
		for _, other := range groups {
			if other.prefix == g.prefix {
				m.repositories = append(m.repositories, other.glob)
			}
		}
		m.repositories = unique(m.repositories)
		if slices.ContainsFunc(m.repositories, func(s string) bool { return strings.Contains(s, "*") }) {
			if deny := repos.get("deny"); deny.set() {
				d.remarkMapping(&m, "repositories", deny, "no equivalent: dray cannot exclude repositories, so this copies them too; name those that you want instead of *")
			}
			d.remarkMapping(&m, "repositories", s.get("repos"), "* does not match a slash, as .* does")
		}
		sets := d.regsyncTags(s, &m)
		d.addSets(m, sets)
	}
}

// wholeRegistry has no equivalent: a mapping begins below a path.
func (d *document) wholeRegistry(s regsyncStep, m mapping, source, target string) {
	m.source, m.targets, m.repositories = source+"/PATH", []string{target + "/PATH"}, []string{"*"}
	m.sets = unite(d.regsyncTags(s, &m))
	d.disable(&m, s.value, "no equivalent: all repositories of a registry; copy this once per PATH that they begin with, or name the repositories")
	d.add(&m)
}

// pathGlob writes an expression over the whole path of a repository as a glob, where it is made of plain characters, .* and
// .+ only.
func pathGlob(re string) (glob string, ok bool) {
	re = strings.TrimSuffix(strings.TrimPrefix(re, "^"), "$")
	var b strings.Builder
	for i := 0; i < len(re); i++ {
		switch c := re[i]; {
		case c == '.' && i+1 < len(re) && (re[i+1] == '*' || re[i+1] == '+'):
			b.WriteByte('*')
			i++
		case c == '\\' && i+1 < len(re) && strings.IndexByte(`.-/_`, re[i+1]) >= 0:
			b.WriteByte(re[i+1])
			i++
		case strings.IndexByte("abcdefghijklmnopqrstuvwxyz0123456789-_/", c) >= 0:
			b.WriteByte(c)
		case c == '.': // any character, but in a path it is meant to be a dot
			b.WriteByte('.')
		default:
			return "", false
		}
	}
	glob = b.String()
	return glob, glob != "" && !strings.Contains(glob, "//") && !strings.HasPrefix(glob, "/") && !strings.HasSuffix(glob, "/")
}
