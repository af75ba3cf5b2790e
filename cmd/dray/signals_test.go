package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/store"
)

// TestStopsWhole ends a daemon while an import is under way: within its grace that is finished, and after it, or after a second signal,
// cut off. The exit code is 0, and the tag is as it was or whole, in every case.
func TestStopsWhole(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]stopsWhole{
		"within the grace": {time.Minute, false, true}, "after it": {300 * time.Millisecond, false, false}, "second signal": {time.Minute, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range stopsTries {
				if tt.inTime(t) {
					return
				}
			}
			t.Error("it takes too long")
		})
	}
}

type stopsWhole struct {
	grace   time.Duration
	again   bool // a second signal
	arrives bool
}

// inTime reports whether the daemon ended before it had to be ended by force, as it may on a busy machine.
func (s stopsWhole) inTime(t *testing.T) bool {
	d := newDesk(t)
	source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
	image := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{})
	if err := image.Push(source, "app", "v1"); err != nil {
		t.Fatal(err)
	}
	reached, release := make(chan struct{}), make(chan struct{})
	source.Inject(registry.Fault{Times: 1, Match: func(r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		close(reached)
		<-release
		return true
	}, Delay: time.Millisecond})
	d.write(d.config, strings.Join([]string{"version: 1", "stateDir: state", serverLine(d.socket), "shutdownGrace: " + s.grace.String(), "mappings:",
		mapping("source: '%s/app', target: '%s/app', tags: [v1]", start(t, source), start(t, target))}, "\n"))
	r := launch(t, d.config, d.socket)
	<-reached
	signalled, left := time.Now(), s.grace
	d.do(r.Process.Signal(syscall.SIGTERM))
	r.until(t, "it stops", func() bool { return len(r.log.entries(t, "stopping")) > 0 })
	if s.again {
		signalled, left = time.Now(), 0
		d.do(r.Process.Signal(syscall.SIGTERM))
	}
	if s.arrives {
		close(release)
	} else {
		defer close(release)
	}
	code := r.exit(t)
	late := code == (&signalError{syscall.SIGTERM}).code() && time.Since(signalled) >= left+stopTime
	switch {
	case late:
		t.Logf("exit code %d after %s\n%s", code, time.Since(signalled), r.log)
	case code != exitDone:
		t.Errorf("exit code %d\n%s", code, r.log)
	}
	if held := target.Digest("app", "v1"); (held == image.Digest) != s.arrives || held != "" && target.Whole("app", "v1") != nil {
		t.Errorf("the tag holds %q\n%s", held, r.log)
	}
	return !late
}

// TestStartsOrSaysWhy: what keeps a daemon from starting ends it with an exit code and a line.
func TestStartsOrSaysWhy(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tt := range map[string]struct {
		line string
		code int
		says string
	}{
		"bad config":    {"mapings: []", exitUsage, "unknown key"},
		"address taken": {fmt.Sprintf("server: {listen: '%s'}", taken.Addr()), exitFailed, "server.listen"},
	} {
		t.Run(name, func(t *testing.T) {
			config := writeConfig(t, tt.line, "mappings:", mapping("source: 'ocidir:///none:v1', target: 'ocidir:///none/x'"))
			command := exec.Command(os.Args[0], "run", "-c", config) //nolint:gosec // this test
			command.Env = []string{asDray + "=1", "HOME=" + t.TempDir()}
			out, err := command.CombinedOutput()
			if command.ProcessState.ExitCode() != tt.code || !strings.Contains(string(out), tt.says) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestOneDaemon: two daemons do not work with one stateDir, however they end, and a sync beside a daemon does.
func TestOneDaemon(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write(d.config, d.text("one"))
	r := launch(t, d.config, d.socket)
	other := filepath.Join(d.dir, "other.yaml")
	d.write(other, strings.Replace(d.text("two"), serverLine(d.socket), serverLine(d.socket+"2"), 1))
	second := exec.Command(os.Args[0], "run", "-c", other) //nolint:gosec // this test
	second.Env = []string{asDray + "=1", "HOME=" + t.TempDir()}
	out, err := second.CombinedOutput()
	if second.ProcessState.ExitCode() != exitFailed || !strings.Contains(string(out), "another dray run works with this stateDir") {
		t.Errorf("%v: %s", err, out)
	}
	if a := dray(t, "sync", "-c", other); strings.Contains(a.err, "store") {
		t.Errorf("a sync beside it: %s", a.err)
	}
	d.do(r.Process.Kill())
	<-r.ended
	r = launch(t, other, d.socket+"2")
	r.stop(t)
}

// TestClaimOutlastsTheStore: a daemon gives its claim on stateDir back once its store is closed, so that the next one finds all that it has
// written.
func TestClaimOutlastsTheStore(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write(d.config, d.text("one"))
	var said bytes.Buffer
	a := &app{streams: streams{out: &said, err: &said, getenv: os.LookupEnv, work: newWork()}, flags: flags{configs: []string{d.config}}}
	s, err := a.newService(t.Context())
	if err != nil {
		t.Fatal(err, said.String())
	}
	var early error
	s.closers = slices.Insert(s.closers, 1, func(context.Context) error { // between the claim and the store
		_, early = store.Claim(filepath.Join(d.target, "state"))
		if _, err := s.store.JobStates(t.Context()); err == nil {
			t.Error("the store is still open")
		}
		return nil
	})
	if err := s.close(t.Context()); err != nil {
		t.Error(err)
	}
	if early == nil {
		t.Error("the claim was given back too early")
	}
	release, err := store.Claim(filepath.Join(d.target, "state"))
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// TestSystemd plays the service manager: it is told when the service is ready, that it reloads and then that it is ready again whether or
// not the config is good, what it does, that it is alive, and that it stops.
func TestSystemd(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	path := filepath.Join(d.target, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	heard := make(chan string, 1000)
	go func() {
		for {
			buffer := make([]byte, 8192)
			n, err := socket.Read(buffer)
			if err != nil {
				return
			}
			heard <- string(bytes.TrimSpace(buffer[:n]))
		}
	}()
	credentials := filepath.Join(d.target, "credentials")
	d.write(filepath.Join(credentials, "name"), "one\n")
	text := strings.Replace(d.text("one"), "'one'", "'${file:$CREDENTIALS_DIRECTORY/name}'", 1)
	d.write(d.config, strings.Replace(text, "stateDir", "# stateDir", 1))
	state := filepath.Join(d.target, "var")
	r := launch(t, d.config, d.socket, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=200000", "STATE_DIRECTORY="+state, "CREDENTIALS_DIRECTORY="+credentials)
	var said []string
	hear := func(want ...string) {
		t.Helper()
		for deadline := time.After(soon); ; {
			select {
			case message := <-heard:
				said = append(said, message)
				if slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(message, w) }) {
					continue
				}
				return
			case <-deadline:
				t.Fatalf("never heard %q, but %q", want, said)
			}
		}
	}
	hear("READY=1", "STATUS=")
	hear("WATCHDOG=1")
	hear("STATUS=1 jobs, the next at ")
	d.do(r.Process.Signal(syscall.SIGHUP))
	hear("RELOADING=1", "MONOTONIC_USEC=")
	hear("READY=1")
	d.write(d.config, "nonsense")
	hear("RELOADING=1", "MONOTONIC_USEC=")
	hear("READY=1", "STATUS=config rejected")
	d.do(r.Process.Signal(syscall.SIGHUP))
	hear("RELOADING=1")
	hear("READY=1")
	r.has(t, "one")
	r.stop(t)
	hear("STOPPING=1")
	if _, err := os.Stat(filepath.Join(state, "dray.db")); err != nil {
		t.Error(err)
	}
}

// TestUnit has systemd judge the units that are shipped.
func TestUnit(t *testing.T) {
	t.Parallel()
	analyze := fulltest.Program(t, "systemd-analyze", "Debian's package systemd")
	for _, name := range []string{"dray.service", "dray-serve.service"} {
		unit := filepath.Join("..", "..", "examples", "systemd", name)
		security, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", "--no-pager", unit).CombinedOutput() //nolint:gosec // a test
		if err != nil {
			t.Errorf("more exposed than 2.0: %v\n%s", err, security)
		}
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		// verify wants the program to be there.
		own := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(own, bytes.ReplaceAll(text, []byte("ExecStart=dray "), []byte("ExecStart="+os.Args[0]+" ")), 0o600); err != nil {
			t.Fatal(err)
		}
		said, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", own).CombinedOutput() //nolint:gosec // a test
		for line := range strings.Lines(string(said)) {
			// systemd before 253 does not know this type; the unit names notify before it.
			if strings.Contains(line, own) && !strings.Contains(line, "notify-reload") {
				t.Error(line)
			}
		}
		if err != nil {
			t.Errorf("%v\n%s", err, said)
		}
	}
}

// TestAborted has the watchdog's signal end dray as the unit runs it: by the signal, since the unit takes exit code 2, with which Go ends
// otherwise, for a config that is wrong, and does not start dray again.
func TestAborted(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "systemd", "dray.service"))
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for line := range strings.Lines(string(text)) {
		if variable, ok := strings.CutPrefix(strings.TrimSpace(line), "Environment="); ok {
			env = append(env, variable)
		}
	}
	d := newDesk(t)
	d.write(d.config, strings.Join([]string{"version: 1", "stateDir: " + filepath.Join(d.target, "state"), serverLine(d.socket), "mappings:", mapping("source: 'ocidir:///nothing:1', target: 'ocidir:///nowhere'")}, "\n"))
	r := launch(t, d.config, d.socket, env...)
	if err := r.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	if code := r.exit(t); code != -1 {
		t.Errorf("exit code %d, want the signal", code)
	}
	if status, _ := r.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGABRT || !strings.Contains(r.log.String(), "goroutine ") {
		t.Errorf("it ended with %s, saying\n%s", r.ProcessState, r.log)
	}
}
