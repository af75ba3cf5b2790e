//go:build unix

package web

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// socketPath is short enough for a socket, which names of temporary folders of tests may not be.
func socketPath(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "dray")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return filepath.Join(folder, "s")
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	listener, err := Listen(t.Context(), socketPrefix+path)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func TestSocket(t *testing.T) {
	path := socketPath(t)
	old := syscall.Umask(0o077)
	listener := listen(t, path)
	syscall.Umask(old)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Listen(t.Context(), socketPrefix+path); err == nil || !strings.Contains(err.Error(), "is dray running already?") {
		t.Errorf("a second: %v", err)
	}
	daemon := &fake{jobs: []string{"library/alpine"}}
	s := serve(t, Options{Daemon: daemon, Address: socketPrefix + path}, listener)
	tcp, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	both := make(chan error, 1)
	go func() { both <- s.Serve(tcp) }()
	for _, address := range []string{socketPrefix + path, tcp.Addr().String()} {
		client := NewClient(address, "")
		if _, err := client.Sync(t.Context(), "library/alpine"); err != nil {
			t.Error(err)
		}
		client.Close()
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-both; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}

func TestStaleSocket(t *testing.T) {
	path := socketPath(t)
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	listener := listen(t, path)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	// Another takes the place: that one is not removed.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := listen(t, path)
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's socket is gone: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

func TestNoSocket(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), socketPrefix+path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if _, err := Listen(t.Context(), socketPrefix+filepath.Join(filepath.Dir(path), "none", "s")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := Listen(t.Context(), "127.0.0.1:x"); err == nil || !strings.HasPrefix(err.Error(), "listen at 127.0.0.1:x: ") {
		t.Errorf("no port: %v", err)
	}
}

// A symbolic link is no socket, wherever it leads: what is removed must be what was looked at.
func TestSocketLink(t *testing.T) {
	path := socketPath(t)
	if err := os.Symlink("elsewhere", path); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), socketPrefix+path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v", err)
	}
}
