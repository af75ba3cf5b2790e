// Package report tells people and programs what a run did or would do: text that reads like a diff, one JSON document, and
// progress on a terminal. Whatever a registry or a config said is made harmless before it reaches a terminal.
package report
