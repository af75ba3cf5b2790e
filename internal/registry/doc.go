// Package registry talks to registries by the OCI distribution spec, and to OCI image layouts through package layout. Its functions are the
// spec's operations; package auth signs what they ask for, and package wire sends it.
package registry
