package store

import (
	"time"

	"golang.org/x/sys/unix"
)

// boottime returns a time that goes on while the machine is suspended, and that nobody sets.
func boottime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(started)
	}
	return time.Duration(t.Nano())
}

// started is before every use of boottime.
var started = time.Now() //nolint:forbidigo // how long this process has been going
