// Package config reads a config file into a value that is complete, valid and read-only. Every mistake is reported at once,
// each with its line and column.
//
// The types of grammar.go are the one place where a key is declared: decoding, the JSON schema and the tests that hold the
// example file complete are derived from them.
package config

//go:generate go test . -run "^Test(Schema|Reference)IsCurrent$" -update
