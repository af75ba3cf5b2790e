//go:build !linux

package watch

// remote is unknown here.
func remote(string) bool { return false }
