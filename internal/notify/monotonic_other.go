//go:build !linux

package notify

import (
	"errors"
	"time"
)

// monotonic is for Linux, where systemd is.
func monotonic() (time.Duration, error) { return 0, errors.ErrUnsupported }
