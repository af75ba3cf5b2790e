//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/draysync/dray/internal/emulator/registry"
)

// pseudoTerminal opens a terminal of a width.
func pseudoTerminal(t *testing.T, width uint16) (near, far *os.File) {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("this machine has no pseudo-terminals: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if far, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(near.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: width}); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// TestTerminal has a sync of twelve tags on a terminal, on a dumb one, without colours and piped: each import is shown once, in the order of
// versions, and there are control characters only where they are understood.
func TestTerminal(t *testing.T) {
	t.Parallel()
	colour := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for name, tt := range map[string]struct {
		width          uint16 // 0 for a pipe
		env            string
		moves, colours bool
	}{
		"80 columns":  {80, "TERM=xterm", true, true},
		"120 columns": {120, "TERM=xterm", true, true},
		"200 columns": {200, "TERM=xterm", true, true},
		"dumb":        {80, "TERM=dumb", false, false},
		"no colour":   {80, "NO_COLOR=1", true, false},
		"piped":       {0, "TERM=xterm", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, target := registry.New(registry.Options{}), registry.New(registry.Options{})
			for i := range 12 {
				if err := registry.SingleArch(int64(i), "linux/amd64", registry.ImageOptions{Layers: 1, LayerSize: 50}).Push(source, "app", fmt.Sprint("v1.", i)); err != nil {
					t.Fatal(err)
				}
			}
			host := start(t, target)
			config := writeConfig(t, "mappings:", mapping("name: app, source: '%s/app', target: '%s/app', tags: ['v1.*'], referrers: false", start(t, source), host))
			command := exec.Command(os.Args[0], "sync", "-c", config)
			command.Env = []string{asDray + "=1", "HOME=" + t.TempDir(), tt.env}
			text := shownBy(t, command, tt.width)
			if got := strings.Contains(text, "\x1b["); got != tt.moves {
				t.Errorf("moves on the screen: %t in %q", got, text)
			}
			if got := colour.MatchString(text); got && !tt.colours {
				t.Errorf("it has colours: %q", text)
			}
			if tt.width == 0 || name == "dumb" {
				text = text[max(0, strings.LastIndex(text, "job done")):] // the log says it too, for programs
			}
			for i := range 12 {
				if n := len(regexp.MustCompile(`\+ `+regexp.QuoteMeta(fmt.Sprintf("%s/app:v1.%d ", host, i))).FindAllString(text, -1)); n != 1 {
					t.Errorf("v1.%d is shown %d times: %q", i, n, text)
				}
			}
		})
	}
}

// shownBy runs a command with its output on a terminal, or with width 0 in a pipe, and returns what comes.
func shownBy(t *testing.T, command *exec.Cmd, width uint16) string {
	t.Helper()
	if width == 0 {
		out, _ := command.CombinedOutput() // the exit code is that of other tests
		return string(out)
	}
	near, far := pseudoTerminal(t, width)
	defer func() { _ = near.Close() }()
	command.Stdout, command.Stderr = far, far
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	var text bytes.Buffer
	_, _ = io.Copy(&text, near) // ends with an error when the command has ended
	_ = command.Wait()
	return text.String()
}
