package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	socketPrefix = "unix:"
	// socketMode lets the socket's owner and group ask.
	socketMode = 0o660
	// dialTimeout is how long whoever holds a socket has to show that it lives.
	dialTimeout = time.Second
)

// Listen listens at an address as server.listen has it: host:port, where no host means all addresses, or "unix:" and an absolute path.
// A socket that nobody answers at any more is replaced; one that somebody does is not. It is removed when the listener is closed.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, socketPrefix)
	if !ok {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("listen at %s: %w", address, err)
		}
		return listener, nil
	}
	listener, err := listenSocket(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", address, err)
	}
	return listener, nil
}

func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := makeRoom(ctx, path); err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{Control: restrict}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	socket := &socketListener{Listener: listener, path: path}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	if socket.file, err = os.Lstat(path); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return socket, nil
}

// makeRoom makes room for a socket.
func makeRoom(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is no socket; remove it, or choose another path")
	}
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = conn.Close() // nothing was said
		return errors.New("another process answers there; is dray running already?")
	case refused(err):
		return os.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("cannot tell whether another process answers there: %w", err)
}

// socketListener removes its socket when it is closed, unless another has taken its place.
type socketListener struct {
	net.Listener
	path string
	file fs.FileInfo
	once sync.Once
}

// Close implements net.Listener.
func (l *socketListener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && (l.file == nil || os.SameFile(l.file, now)) {
			os.Remove(l.path) //nolint:errcheck // it stays behind then, and is replaced at the next start
		}
	})
	return l.Listener.Close()
}
