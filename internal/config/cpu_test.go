//go:build !linux

package config

import "time"

// worked returns how long f takes.
func worked(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}
