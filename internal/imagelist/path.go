package imagelist

import (
	"fmt"
	"path"
	"strings"

	"gopkg.in/yaml.v3"
)

// Path is a place in a YAML document: keys that are joined by dots, such as spec.values.image. Lists count as what they contain. "*" stands
// for any key, with other characters for a part of one, and "**" for any number of keys. A key with a dot is written in double quotes.
type Path struct {
	text  string
	parts []string
}

// maxParts is how many keys a path may have, and maxDeep how many of them may be "**".
const (
	maxParts = 32
	maxDeep  = 3
)

// ParsePath reads a path.
func ParsePath(s string) (Path, error) {
	p := Path{text: s}
	deep := 0
	for rest, more := s, true; more; {
		var part string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			inner, after, closed := strings.Cut(quoted, `"`)
			if !closed || after != "" && after[0] != '.' {
				return Path{}, fmt.Errorf("path %q: a quote is not closed, or does not surround a whole key", s)
			}
			part, rest, more = inner, strings.TrimPrefix(after, "."), after != ""
		} else {
			part, rest, more = strings.Cut(rest, ".")
			part = strings.TrimSuffix(strings.TrimSuffix(part, "[*]"), "[]")
		}
		if _, err := path.Match(part, ""); err != nil || part == "" || len(p.parts) == maxParts {
			return Path{}, fmt.Errorf("path %q: write at most %d keys, joined by dots, such as spec.values.*.image", s, maxParts)
		}
		if part == "**" {
			deep++
		}
		p.parts = append(p.parts, part)
	}
	if deep > maxDeep || p.parts[len(p.parts)-1] == "**" {
		return Path{}, fmt.Errorf("path %q: ** stands at most %d times, and not at the end", s, maxDeep)
	}
	return p, nil
}

// String returns the path as it was read.
func (p Path) String() string { return p.text }

func matches(parts, keys []string) bool {
	for ; len(parts) > 0; parts, keys = parts[1:], keys[1:] {
		if parts[0] == "**" {
			for i := range len(keys) + 1 {
				if matches(parts[1:], keys[i:]) {
					return true
				}
			}
			return false
		}
		if len(keys) == 0 {
			return false
		}
		if ok, err := path.Match(strings.ReplaceAll(parts[0], "/", "\x00"), strings.ReplaceAll(keys[0], "/", "\x00")); !ok || err != nil {
			return false
		}
	}
	return len(keys) == 0
}

// wanted reports whether a path leads to the current place.
func (d *document) wanted() bool {
	for _, p := range d.paths {
		if matches(p.parts, d.path) {
			return true
		}
	}
	return false
}

// named takes what a path leads to: references, a flag with one, or a mapping with repository and tag.
func (d *document) named(v *yaml.Node) {
	if d.visited++; d.visited > maxVisited || d.full() {
		return
	}
	n := resolved(v)
	switch n.Kind {
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if resolved(c).Kind != yaml.SequenceNode {
				d.named(c)
			}
		}
	case yaml.ScalarNode:
		text := strings.TrimSpace(n.Value)
		if flag, value, ok := strings.Cut(text, "="); ok && strings.HasPrefix(flag, "-") {
			text = value
		}
		if text != "" && n.ShortTag() != "!!null" {
			d.reference(d.at(v), text)
		}
	case yaml.MappingNode:
		d.joined(v, n)
	default: // a resolved node is one of these
	}
}

// joined takes a reference whose parts are keys of their own.
func (d *document) joined(v, n *yaml.Node) {
	text := textOf(n, "repository")
	if registry := textOf(n, "registry"); registry != "" && text != "" {
		text = registry + "/" + text
	}
	if name := textOf(n, "image"); name != "" {
		text = strings.TrimPrefix(text+"/"+name, "/")
	}
	tag, digest := textOf(n, "tag"), textOf(n, "digest")
	if tag == "" {
		tag = textOf(n, "version")
	}
	written := text
	if tag != "" {
		text += ":" + tag
	}
	if digest != "" {
		text += "@" + digest
	}
	if written == "" || text == written {
		d.doubt(d.at(v), d.lineOf(v), "has no repository with a tag or a digest")
		return
	}
	at := valueOf(n, "repository")
	if at == nil {
		at = valueOf(n, "image")
	}
	d.expanded(d.at(at), text, resolved(at).Value)
}
