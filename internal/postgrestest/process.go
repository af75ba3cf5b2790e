package postgrestest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startPatience limits how long a server may take to start, and stopPatience to stop.
const (
	startPatience = 2 * time.Minute
	stopPatience  = 30 * time.Second
)

// watch starts a server, and stops it and removes a directory when its input ends: when stop is called, or when the tests are killed.
const watch = `signal=$1 remove=$2; shift 2
"$@" & server=$!
exec 2>/dev/null
cat >/dev/null
kill -s "$signal" "$server"
wait "$server"
rm -rf "$remove"`

// process is a server in a directory of its own, with a user other than root.
type process struct {
	cmd  *exec.Cmd
	held io.Closer // its input
}

// startProcess starts a program in a directory, waits until it says that it is ready, stops it by a signal, and then removes a directory.
func startProcess(dir, remove, signal, ready string, program ...string) (*process, error) {
	attr, err := unprivileged()
	if err != nil {
		return nil, err
	}
	attr.Setpgid = true // an interrupt from the terminal is for the tests
	cmd := exec.CommandContext(context.Background(), "/bin/sh", append([]string{"-c", watch, "sh", signal, remove}, program...)...)
	cmd.Dir, cmd.SysProcAttr = dir, attr
	held, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, held}
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	if err := says(ctx, output, ready); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *process) stop() {
	_ = p.held.Close()
	late := time.AfterFunc(stopPatience, func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	_ = p.cmd.Wait()
	late.Stop()
}

// says waits until a line of the output contains a text.
func says(ctx context.Context, output io.Reader, text string) error {
	said := make(chan error, 1)
	go func() {
		var all strings.Builder
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			if fmt.Fprintln(&all, lines.Text()); strings.Contains(lines.Text(), text) {
				said <- nil
				_, _ = io.Copy(io.Discard, output)
				return
			}
		}
		said <- errors.New("it ended: " + all.String())
	}()
	select {
	case err := <-said:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// directory makes a directory for a server. A socket's path has 107 bytes at most, so it is not below that of the test.
func directory() (string, error) {
	dir, err := os.MkdirTemp("/tmp", "pg")
	if err != nil {
		return "", err
	}
	attr, err := unprivileged()
	if err != nil || attr.Credential == nil {
		return dir, err
	}
	return dir, os.Chown(dir, int(attr.Credential.Uid), int(attr.Credential.Gid))
}

// unprivileged has a process run as a user other than root, which PostgreSQL refuses.
func unprivileged() (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(owner.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(owner.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}
