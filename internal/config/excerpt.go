package config

import (
	"bytes"
	"slices"

	"gopkg.in/yaml.v3"
)

// Excerpt returns a mapping as its file has it, in a normal form, without comments: nothing is filled in, and what ${env:} and ${file:} stand for
// is not put in. It is empty if the config was not read from text.
func (c *Config) Excerpt(m *Mapping) string {
	root, mistake := parseYAML(m.Pos.File, c.Texts[m.Pos.File])
	if mistake != nil {
		return ""
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value != "mappings" {
			continue
		}
		for _, n := range resolve(root.Content[i+1]).Content {
			at, is := Position{m.Pos.File, n.Line, n.Column}, resolve(n)
			if m.Pos == at || m.Pos == (Position{m.Pos.File, is.Line, is.Column}) {
				return written(is)
			}
		}
	}
	return ""
}

// written returns a node as YAML.
func written(n *yaml.Node) string {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if e.Encode(plain(n)) != nil || e.Close() != nil {
		return ""
	}
	return b.String()
}

// plain returns a copy of a node with its aliases written out, and without anchors and comments.
func plain(n *yaml.Node) *yaml.Node {
	is := *resolve(n)
	is.Anchor, is.HeadComment, is.LineComment, is.FootComment = "", "", "", ""
	is.Content = slices.Clone(is.Content)
	for i := range is.Content {
		is.Content[i] = plain(is.Content[i])
	}
	return &is
}
