package realworld

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/report"
)

// program is dray, built by TestMain where everything is tested.
var program string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	if !fulltest.Enabled() {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "dray")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "dray")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/draysync/dray/cmd/dray").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build dray: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// run runs another program to its end, which has to be a good one.
func run(t *testing.T, path string, args ...string) string {
	t.Helper()
	var out, log bytes.Buffer
	c := exec.CommandContext(t.Context(), path, args...)
	c.Stdout, c.Stderr = &out, &log
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(path), strings.Join(args, " "), err, out.String(), log.String())
	}
	return out.String()
}

// user is somebody who runs dray, with a folder of his own.
type user struct {
	dir string
	env []string
}

func newUser(t *testing.T, env ...string) user {
	t.Helper()
	fulltest.Require(t)
	return user{t.TempDir(), env}
}

// timeout is that of one import, patience how long a command may take before it is ended.
const (
	timeout  = 2 * time.Minute
	patience = 3 * time.Minute
)

// answer is what a command said.
type answer struct {
	code int // -1: it did not end
	doc  report.Document
	text string
	took time.Duration
}

// config writes a config file.
func (u user) config(t *testing.T, registries string, mappings ...string) string {
	t.Helper()
	text := fmt.Sprintf("version: 1\nstateDir: state\ndefaults: {timeout: %s}\n", timeout)
	if registries != "" {
		text += "registries:\n" + registries
	}
	file, err := os.CreateTemp(u.dir, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(text + "mappings:\n  - {" + strings.Join(mappings, "}\n  - {") + "}\n")
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

func (u user) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = u.dir
	c.Env = append([]string{"HOME=" + u.dir, "PATH=" + os.Getenv("PATH")}, u.env...)
	return c
}

// sync runs `dray sync` to its end. One that hangs says with its last breath where.
func (u user) sync(t *testing.T, config string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := u.command(ctx, "sync", "-c", config, "-o", "json")
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGQUIT) }
	c.WaitDelay = 10 * time.Second
	var out, log bytes.Buffer
	c.Stdout, c.Stderr = &out, &log
	started := time.Now()
	err := c.Run()
	a := answer{code: c.ProcessState.ExitCode(), took: time.Since(started)}
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	a.text = log.String() + out.String()
	if ctx.Err() != nil {
		a.code = -1
		return a
	}
	if err := json.Unmarshal(out.Bytes(), &a.doc); err != nil && out.Len() > 0 {
		t.Fatalf("%v\n%s", err, a.text)
	}
	return a
}

// wants fails unless the command did what is wanted: so many imports, and nothing that failed.
func (a answer) wants(t *testing.T, imports, keeps int) {
	t.Helper()
	if a.code != 0 || a.doc.Totals.Import != imports || a.doc.Totals.Keep != keeps || a.doc.Totals.Failed != 0 || a.doc.Totals.Deferred != 0 {
		t.Fatalf("exit code %d after %s, %+v, want %d imports and %d kept\n%s", a.code, a.took.Round(time.Millisecond), a.doc.Totals, imports, keeps, tail(a.text))
	}
}

// tail keeps the end of a long text.
func tail(text string) string {
	if len(text) > 12_000 {
		return "…" + text[len(text)-12_000:]
	}
	return text
}
