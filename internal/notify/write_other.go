//go:build !linux

package notify

import "net"

// writeAtOnce is for Linux, where systemd is.
func writeAtOnce(_ *net.UnixConn, _ string, late error) error { return late }
