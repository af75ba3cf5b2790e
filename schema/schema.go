// Package schema holds the JSON schema of the config file where editors look for it.
package schema

import _ "embed"

//go:embed dray.schema.json
var dray string

// Dray returns the schema in draft-07. It is generated from the types of the config package; the bytes are the caller's.
func Dray() []byte { return []byte(dray) }
