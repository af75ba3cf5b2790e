// Package docs embeds what of the documentation the program brings along.
package docs

import _ "embed"

//go:embed configuration.md
var configuration []byte

// Configuration returns the reference of the config file, in Markdown.
func Configuration() []byte { return configuration }
