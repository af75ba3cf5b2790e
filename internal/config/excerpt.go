package config

import (
	"bytes"
	"slices"

	"gopkg.in/yaml.v3"
)

// Excerpts returns the mappings as their files have them, by [Mapping.Pos], in a normal form, without comments: nothing is filled in, and what
// ${env:} and ${file:} stand for is not put in. It parses all files, and is empty for a config that was not read from text.
func (c *Config) Excerpts() map[Position]string {
	all := map[Position]string{}
	for file, text := range c.Texts {
		root, mistake := parseYAML(file, text)
		if mistake != nil {
			continue
		}
		for i := 0; i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value != "mappings" {
				continue
			}
			for _, n := range resolve(root.Content[i+1]).Content {
				is := resolve(n)
				text := written(is)
				all[Position{file, n.Line, n.Column}], all[Position{file, is.Line, is.Column}] = text, text
			}
		}
	}
	return all
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
