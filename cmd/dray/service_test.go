package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/web"
)

const (
	// soon is how long a test waits for what has to happen. The promise is two seconds; machines are busy, and synctest has its own.
	soon = time.Minute
	// started is how quickly a daemon has to answer.
	started = time.Minute
)

// running is dray run as a process of its own.
type running struct {
	*exec.Cmd
	dir    string // of the config
	client *web.Client
	ended  chan error
	log    *journal
}

// journal is what a process has written, which may still be growing.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// entries are the lines of the log with a message.
func (j *journal) entries(t *testing.T, message string) []map[string]any {
	t.Helper()
	var found []map[string]any
	lines := bufio.NewScanner(strings.NewReader(j.String()))
	for lines.Scan() {
		var entry map[string]any
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry["msg"] == message {
			found = append(found, entry)
		}
	}
	return found
}

// shortDir makes a folder whose name is short enough for a socket in it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dray")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// launch starts dray run with the config of that path, which has to listen at a socket beside its folder: see serverLine.
func launch(t *testing.T, config, socket string, env ...string) *running {
	t.Helper()
	return launchProgram(t, os.Args[0], config, socket, env...)
}

func launchProgram(t *testing.T, program, config, socket string, env ...string) *running {
	t.Helper()
	r := &running{
		Cmd: exec.Command(program, "run", "-c", config), dir: filepath.Dir(config), client: web.NewClient("unix:"+socket, ""), //nolint:gosec // this test
		ended: make(chan error, 1), log: &journal{},
	}
	r.Env = append([]string{asDray + "=1", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, env...)
	r.Stdout, r.Stderr = r.log, r.log
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.ended <- r.Wait() }()
	t.Cleanup(func() { _ = r.Process.Kill(); r.client.Close() })
	r.within(t, started, "it answers", func() bool { _, err := r.client.Status(t.Context()); return err == nil })
	return r
}

// serverLine is what a config needs for launch.
func serverLine(socket string) string {
	return fmt.Sprintf("server: {listen: 'unix:%s'}", socket)
}

// until waits for something to come true.
func (r *running) until(t *testing.T, what string, true func() bool) {
	t.Helper()
	r.within(t, soon, what, true)
}

func (r *running) within(t *testing.T, limit time.Duration, what string, true func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !true() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s\n%s", limit, what, r.log)
		}
		select {
		case err := <-r.ended:
			t.Fatalf("it ended with %v before %s\n%s", err, what, r.log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *running) status(t *testing.T) record.Snapshot {
	t.Helper()
	s, err := r.client.Status(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, r.log)
	}
	return s
}

// jobs returns the names of the jobs that run.
func (r *running) jobs(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, j := range r.status(t).Jobs {
		names = append(names, j.Job)
	}
	return names
}

// has waits until exactly these jobs are there.
func (r *running) has(t *testing.T, names ...string) {
	t.Helper()
	r.until(t, fmt.Sprintf("the jobs are %q", names), func() bool { return slices.Equal(names, r.jobs(t)) })
}

// stop ends the process as a service manager does.
func (r *running) stop(t *testing.T) {
	t.Helper()
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("it ended with %v\n%s", err, r.log)
		}
	case <-time.After(time.Minute):
		t.Errorf("it does not end\n%s", r.log)
	}
}

// exit returns the exit code of a process that ends by itself.
func (r *running) exit(t *testing.T) int {
	t.Helper()
	select {
	case err := <-r.ended:
		var exit *exec.ExitError
		if err == nil {
			return 0
		}
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return exit.ExitCode()
	case <-time.After(time.Minute):
		t.Fatalf("it does not end\n%s", r.log)
	}
	return -1
}
