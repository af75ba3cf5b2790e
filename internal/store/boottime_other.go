//go:build !linux

package store

import "time"

// boottime returns a time that nobody sets.
func boottime() time.Duration { return time.Since(started) }

// started is before every use of boottime.
var started = time.Now() //nolint:forbidigo // how long this process has been going
