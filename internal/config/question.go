package config

import (
	"bytes"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// inWord is a "?" that does not begin a word, and so is a plain character in YAML 1.2, also in [linux/arm64?]. The parser is one of YAML
// 1.1, for which it ends the word there.
var inWord = regexp.MustCompile(`[^\s\[\]{},?]\?+`)

// plainQuestions puts another character, that the text does not have, in place of each such "?", and returns what undoes that in the nodes.
// No position changes.
func plainQuestions(data []byte) (read []byte, restore func(*yaml.Node)) {
	placeholder := '\uE000'
	for bytes.ContainsRune(data, placeholder) && placeholder < '\uF8FF' {
		placeholder++
	}
	read = inWord.ReplaceAllFunc(data, func(word []byte) []byte { return bytes.ReplaceAll(word, []byte("?"), []byte(string(placeholder))) })
	if len(read) == len(data) {
		return data, func(*yaml.Node) {}
	}
	restore = func(n *yaml.Node) {
		n.Value = strings.ReplaceAll(n.Value, string(placeholder), "?")
		for _, c := range n.Content {
			restore(c)
		}
	}
	return read, restore
}
