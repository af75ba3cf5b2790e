package notify

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// writeAtOnce writes a datagram without waiting, also after the deadline. It returns late if there is no room.
func writeAtOnce(conn *net.UnixConn, message string, late error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { _, failed = unix.Write(int(fd), []byte(message)) }); err != nil {
		return err
	}
	if errors.Is(failed, unix.EAGAIN) {
		return late
	}
	return failed
}
