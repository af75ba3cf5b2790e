package imagelist

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// service looks at a key of a compose file's service.
func (d *document) service(service *yaml.Node, key string, v *yaml.Node) {
	n := resolved(v)
	switch {
	case key == "image" && n.Kind == yaml.ScalarNode:
		if text := strings.TrimSpace(n.Value); valueOf(service, "build") != nil {
			d.doubt(d.at(v), text, "is what the service's build makes")
		} else if text != "" {
			d.interpolated(v, text)
		}
	case key == "build":
		d.build(n)
	case key == "extends" && textOf(n, "file") != "":
		d.elsewhere(v)
	case key == "environment":
		d.variables(n)
	case (key == "command" || key == "entrypoint") && n.Kind == yaml.SequenceNode:
		d.arguments(n)
	case key == "volumes" && n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			if source := valueOf(c, "source"); textOf(c, "type") == "image" && source != nil {
				d.interpolated(source, resolved(source).Value)
			}
		}
	}
}

// elsewhere doubts what is in other files.
func (d *document) elsewhere(v *yaml.Node) {
	d.doubt(d.at(v), strings.TrimSpace(d.lineOf(v)), "is in another file: give that one too, or the output of docker compose config")
}

// variables looks at the environment of a service: a mapping, or a list of NAME=VALUE.
func (d *document) variables(n *yaml.Node) {
	d.pairs(n, nil, func(k, value *yaml.Node) {
		if resolved(value).Kind == yaml.ScalarNode {
			d.argument(d.at(value), k.Value, resolved(value).Value)
		}
	})
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			name, value, _ := strings.Cut(resolved(c).Value, "=")
			d.argument(d.at(c), name, value)
		}
	}
}

// build looks at what a service is built from.
func (d *document) build(n *yaml.Node) {
	if inline := resolved(valueOf(n, "dockerfile_inline")); inline != nil && inline.Kind == yaml.ScalarNode && inline.Style == yaml.LiteralStyle {
		d.dockerfile(inline.Value, d.line+inline.Line)
	}
	contexts := resolved(valueOf(n, "additional_contexts"))
	if contexts == nil {
		return
	}
	for _, c := range contexts.Content {
		if _, from, ok := strings.Cut(resolved(c).Value, "docker-image://"); ok {
			d.interpolated(c, from)
		}
	}
}

// interpolated takes a reference whose variables have defaults.
func (d *document) interpolated(v *yaml.Node, text string) {
	value, ok := expand(text, nil)
	if !ok {
		d.doubt(d.at(v), text, "has a variable without a default: give the output of docker compose config")
		return
	}
	d.expanded(d.at(v), value, text)
}
