package config

import "github.com/draysync/dray/schema"

// Schema returns the JSON schema of a config file, in draft-07. The caller may change the bytes.
func Schema() []byte { return schema.Dray() }
