package notify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// manager plays systemd at an address, and returns how to read the next datagram.
func manager(t *testing.T, address string) (next func() string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 8192)
		n, err := conn.Read(data)
		if err != nil {
			t.Fatal(err)
		}
		return string(data[:n])
	}
}

// shortPath is for a socket, whose path may have about a hundred bytes.
func shortPath(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return filepath.Join(folder, "s")
}

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if value, ok := strings.CutPrefix(p, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

func TestMessages(t *testing.T) {
	long := strings.Repeat("ü", 2000)
	tests := map[string]struct {
		send func(*Notifier) error
		want string
	}{
		"ready":                  {func(n *Notifier) error { return n.Ready("12 jobs") }, "READY=1\nSTATUS=12 jobs"},
		"ready without a status": {func(n *Notifier) error { return n.Ready("") }, "READY=1"},
		"status":                 {func(n *Notifier) error { return n.Status("importing 3 tags") }, "STATUS=importing 3 tags"},
		"status of nothing":      {func(n *Notifier) error { return n.Status("") }, "STATUS="},
		"stopping":               {(*Notifier).Stopping, "STOPPING=1"},
		"watchdog":               {(*Notifier).Watchdog, "WATCHDOG=1"},
		"lines in a status":      {func(n *Notifier) error { return n.Ready("a\nSTOPPING=1\r\nb\x00c\u2028d") }, "READY=1\nSTATUS=a STOPPING=1  b c d"},
		"no text":                {func(n *Notifier) error { return n.Status("a\xffb") }, "STATUS=a\ufffdb"},
		"a long status":          {func(n *Notifier) error { return n.Status("x" + long) }, "STATUS=x" + long[:1020] + "…"},
		"cut between characters": {func(n *Notifier) error { return n.Status(long) }, "STATUS=" + long[:1020] + "…"},
	}
	addresses := map[string]string{"path": shortPath(t), "abstract": fmt.Sprintf("@dray-notify-test-%d", os.Getpid())}
	for kind, address := range addresses {
		next := manager(t, address)
		n := New(environment("NOTIFY_SOCKET=" + address))
		for name, tt := range tests {
			t.Run(kind+" "+name, func(t *testing.T) {
				if err := tt.send(n); err != nil {
					t.Fatal(err)
				}
				got := next()
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Error(d)
				}
				if !utf8.ValidString(got) || len(got) > 4096 {
					t.Errorf("the manager ignores %d bytes: %q", len(got), got)
				}
			})
		}
	}
}

// TestReloading compares with the clock before and after.
func TestReloading(t *testing.T) {
	address := shortPath(t)
	next := manager(t, address)
	before, err := monotonic()
	if err != nil {
		t.Fatal(err)
	}
	if err := New(environment("NOTIFY_SOCKET=" + address)).Reloading(); err != nil {
		t.Fatal(err)
	}
	after, _ := monotonic()
	got := next()
	number, ok := strings.CutPrefix(got, "RELOADING=1\nMONOTONIC_USEC=")
	usec, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || usec < before.Microseconds() || usec > after.Microseconds() || usec == 0 {
		t.Errorf("got %q, between %d and %d", got, before.Microseconds(), after.Microseconds())
	}
}

func TestWithoutManager(t *testing.T) {
	var none *Notifier
	for name, n := range map[string]*Notifier{"nil": none, "no socket": New(environment("WATCHDOG_USEC=1000000"))} {
		t.Run(name, func(t *testing.T) {
			if err := errors.Join(n.Ready("x"), n.Reloading(), n.Status("x"), n.Stopping(), n.Watchdog()); err != nil {
				t.Error(err)
			}
			if d := n.WatchdogInterval(); d != 0 {
				t.Errorf("pings every %v", d)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	tests := map[string]struct{ socket, want string }{
		"nobody listens": {shortPath(t), "no such file"},
		"vsock":          {"vsock:2:1234", "neither a path nor an abstract name"},
		"relative":       {"run/notify", "neither a path nor an abstract name"},
		"too long":       {"/" + strings.Repeat("x", 200), "invalid argument"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := New(environment("NOTIFY_SOCKET=" + tt.socket))
			for what, err := range map[string]error{"ready": n.Ready("x"), "reloading": n.Reloading(), "watchdog": n.Watchdog()} {
				if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "notify the service manager: ") {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// TestDeafManager fills the queue of a manager that reads nothing: the sender waits, but not for ever. A manager that has
// been replaced is reached again.
func TestDeafManager(t *testing.T) {
	address := shortPath(t)
	deaf, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	n := New(environment("NOTIFY_SOCKET=" + address))
	n.patience = 50 * time.Millisecond
	for range 10000 {
		if err = n.Watchdog(); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	deaf.Close()
	if err := n.Watchdog(); err == nil {
		t.Error("no error without a manager")
	}
	if err := os.RemoveAll(address); err != nil {
		t.Fatal(err)
	}
	next := manager(t, address)
	if err := n.Watchdog(); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "WATCHDOG=1" {
		t.Errorf("got %q", got)
	}
}

// TestLate: a manager that has room is told, also if the time for it passed while this process stood still.
func TestLate(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux writes after the deadline")
	}
	address := shortPath(t)
	next := manager(t, address)
	n := New(environment("NOTIFY_SOCKET=" + address))
	n.patience = -time.Second
	if err := n.Ready(""); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "READY=1" {
		t.Errorf("got %q", got)
	}
}

func TestWatchdogInterval(t *testing.T) {
	tests := map[string]struct {
		usec, pid string
		want      time.Duration
	}{
		"half of it":          {"30000000", "", 15 * time.Second},
		"this process":        {"30000000", strconv.Itoa(os.Getpid()), 15 * time.Second},
		"another process":     {"30000000", "1", 0},
		"not watched":         {"", "", 0},
		"nothing":             {"0", "", 0},
		"negative":            {"-5", "", 0},
		"no number":           {"30s", "", 0},
		"more than can be":    {"9223372036854775807", "", 0},
		"systemd's for never": {"18446744073709551615", "", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := New(environment("NOTIFY_SOCKET=/run/systemd/notify", "WATCHDOG_USEC="+tt.usec, "WATCHDOG_PID="+tt.pid))
			if got := n.WatchdogInterval(); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
