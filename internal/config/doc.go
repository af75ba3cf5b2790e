// Package config reads a config file into a value that is complete, valid and read-only. Every mistake is reported at once,
// each with its line and column.
// Keys are declared only once, by the types of grammar.go: decoding, the JSON schema and the tests that keep the example file complete are
// derived from them.
package config

//go:generate go test . -run "^Test(Schema|Reference)IsCurrent$" -update
