package config

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// pair is one key of a mapping with its value.
type pair struct {
	name  string
	key   *yaml.Node
	value *yaml.Node
}

// pairs returns the pairs of a mapping, including merged ones, and reports invalid and duplicate keys.
func (w *walker) pairs(n *yaml.Node, at origin) ([]pair, bool) {
	if n.Kind != yaml.MappingNode {
		w.wrong(n, at, "a mapping")
		return nil, false
	}
	var own, merged []pair
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if isMerge(key) {
			merged = append(merged, w.merge(value, at)...)
			continue
		}
		scalar := resolve(key)
		if scalar.Kind != yaml.ScalarNode || scalar.ShortTag() == "!!null" {
			w.fail(w.at(key, at.key), fmt.Errorf("has a key that must be a text (got %s)", describe(scalar)), "")
			continue
		}
		name := scalar.Value
		if line, ok := seen[name]; ok {
			w.fail(w.at(key, join(at.key, clip(name))), fmt.Errorf("appears twice, first on line %d", line), "remove one of them")
			continue
		}
		seen[name] = key.Line
		own = append(own, pair{name: name, key: key, value: value})
	}
	return withMerged(own, merged, seen), true
}

// withMerged adds merged pairs whose keys are not present: the mapping's own keys win, then those merged first.
func withMerged(own, merged []pair, seen map[string]int) []pair {
	for _, p := range merged {
		if _, ok := seen[p.name]; !ok {
			seen[p.name] = p.key.Line
			own = append(own, p)
		}
	}
	return own
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && key.ShortTag() == "!!merge"
}

// merge returns the pairs of the value of "<<": a mapping, or a list of mappings.
func (w *walker) merge(n *yaml.Node, at origin) []pair {
	at = w.at(n, join(at.key, "<<"))
	sources := []*yaml.Node{n}
	if list := resolve(n); list.Kind == yaml.SequenceNode {
		sources = list.Content
	}
	var all []pair
	for _, s := range sources {
		s = resolve(s)
		if s.Kind != yaml.MappingNode {
			w.fail(at, fmt.Errorf("must be a mapping or a list of mappings (got %s)", describe(s)), "")
			continue
		}
		pairs, _ := w.pairs(s, at)
		all = append(all, pairs...)
	}
	return all
}
