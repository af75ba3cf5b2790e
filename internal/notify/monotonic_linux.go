package notify

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock that the manager compares with. Package time keeps its reading of it to itself.
func monotonic() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, err
	}
	return time.Duration(now.Nano()), nil
}
