// Package convert turns the config of another tool that copies images into one of dray. A setting without an equivalent becomes a comment
// at the place where it would stand, and a Note. It reads no file and asks nobody: the same input gives the same output.
//
// Each tool has a reader of its own (regsync.go, dregsy.go, imagesyncer.go, skopeo.go, ocync.go, az.go with shell.go), which fills a document;
// document.go checks that dray can load what is in it, and emit.go writes it. Secrets that stand in the source in plain text
// are never copied: the output and the notes name an environment variable instead.
package convert
