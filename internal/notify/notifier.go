// Package notify tells systemd how the service is doing, by the protocol of sd_notify(3).
package notify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxStatus bounds a status in bytes: systemd ignores a whole datagram of more than 4096.
	maxStatus = 1024
	// patience is how long a manager that reads nothing is waited for.
	patience = time.Second
)

// Notifier sends to the service manager. Without one, as with a nil Notifier, every method does nothing. No error of it is a
// reason to stop: the service works whether or not somebody hears how.
type Notifier struct {
	// socket is empty without a manager.
	socket   string
	watchdog time.Duration
	patience time.Duration
}

// New reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
func New(getenv func(string) string) *Notifier {
	n := &Notifier{socket: getenv("NOTIFY_SOCKET"), patience: patience}
	pid := getenv("WATCHDOG_PID")
	if n.socket != "" && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog = microseconds(getenv("WATCHDOG_USEC"))
	}
	return n
}

// microseconds returns 0 for what is not a duration of at least one.
func microseconds(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > int64(1<<63-1)/int64(time.Microsecond) {
		return 0
	}
	return time.Duration(n) * time.Microsecond
}

// Ready says that the service has started, or that a reload has ended, well or not. Without a status, the last one stays.
func (n *Notifier) Ready(status string) error {
	if status == "" {
		return n.send("READY=1")
	}
	return n.send("READY=1", "STATUS="+clean(status))
}

// Reloading says that a reload has begun; Ready must follow. It must be called after the signal that asked for the reload: the
// manager takes an older time for the answer to an earlier one.
func (n *Notifier) Reloading() error {
	if n == nil || n.socket == "" {
		return nil
	}
	now, err := monotonic()
	if err != nil {
		return fmt.Errorf("read the monotonic clock: %w", err)
	}
	return n.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Microseconds(), 10))
}

// Status says in one line what the service is doing.
func (n *Notifier) Status(text string) error { return n.send("STATUS=" + clean(text)) }

// Stopping says that the service is shutting down.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1") }

// Watchdog says that the service is alive.
func (n *Notifier) Watchdog() error { return n.send("WATCHDOG=1") }

// WatchdogInterval is how often to call [Notifier.Watchdog]: half of the time after which the manager gives the service up.
// It is 0 where the manager does not watch this process.
func (n *Notifier) WatchdogInterval() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog / 2
}

// clean makes one line of valid UTF-8, which is all that the manager takes, and cuts what is too long. What is no UTF-8 comes
// out of strings.Map as U+FFFD.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) <= maxStatus {
		return text
	}
	end := maxStatus - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// send puts the lines into one datagram.
func (n *Notifier) send(lines ...string) error {
	if n == nil || n.socket == "" {
		return nil
	}
	if n.socket[0] != '/' && n.socket[0] != '@' {
		return fmt.Errorf("notify the service manager: NOTIFY_SOCKET=%q is neither a path nor an abstract name", n.socket)
	}
	if err := write(n.socket, strings.Join(lines, "\n"), n.patience); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// write takes a socket of its own each time, so that a manager that was restarted is reached again. A name that begins with @
// is abstract to package net too.
func write(socket, message string, patience time.Duration) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"}) // waits for nothing
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // what was written has been taken
	if err := conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err = conn.Write([]byte(message)); errors.Is(err, os.ErrDeadlineExceeded) {
		return writeAtOnce(conn, message, err) // the time may have passed while this process stood still
	}
	return err
}
