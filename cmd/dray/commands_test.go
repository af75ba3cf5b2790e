package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
	"github.com/draysync/dray/internal/web"
)

// TestCommands has a file of golden answers for each command, testdata/commands/COMMAND.txt: its help, what completes its arguments and flags, and its
// answers with -o json, also where it fails, each with the exit code. A line "$ dray …" of a file is a call, with what -update writes below it;
// "<FILE" at its end is stdin, "^C" interrupts it, and "&" has it go on until the next such call, or the file's end. testdata/commands.txtar has the files of the folder in
// which the calls are made.
func TestCommands(t *testing.T) {
	fulltest.Long(t)
	a := &app{streams: streams{getenv: func(string) (string, bool) { return "", false }, work: newWork()}}
	codes, files, ran := map[string]bool{}, []string{}, 0
	for _, c := range all(a.root()) {
		path := filepath.Join("testdata", "commands", strings.ReplaceAll(c.CommandPath(), " ", "-")+".txt")
		files = append(files, path)
		t.Run(c.CommandPath(), func(t *testing.T) {
			path, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil && !*update {
				t.Fatal(err)
			}
			calls := callsOf(c, string(data))
			caller := newCaller(t)
			var now strings.Builder
			for _, call := range calls {
				now.WriteString(caller.call(t, call))
			}
			if *update {
				if err := os.WriteFile(path, []byte(now.String()), 0o644); err != nil { //nolint:gosec // a document
					t.Fatal(err)
				}
			} else if d := cmp.Diff(string(data), now.String()); d != "" {
				t.Errorf("go test ./cmd/dray -run TestCommands -update writes %s anew (-there +now):\n%s", path, d)
			}
			ran++
			for _, code := range exitLine.FindAllStringSubmatch(now.String(), -1) {
				codes[code[1]] = true
			}
		})
	}
	for _, code := range []int{exitDone, exitFailed, exitUsage, exitPartly, exitPending, exitInterrupted} {
		if !codes[fmt.Sprint(code)] && ran == len(files) {
			t.Errorf("no call ends with the exit code %d", code)
		}
	}
	there, err := filepath.Glob(filepath.Join("testdata", "commands", "*.txt"))
	if slices.Sort(files); err != nil || !slices.Equal(there, files) {
		t.Errorf("the files are %q (%v), those of the commands %q", there, err, files)
	}
}

var (
	callLine = regexp.MustCompile(`(?m)^\$ dray (.*)\n`)
	exitLine = regexp.MustCompile(`(?m)^exit (\d+)$`)
)

// all returns a command and those below it.
func all(c *cobra.Command) []*cobra.Command {
	commands := []*cobra.Command{c}
	for _, below := range c.Commands() {
		commands = append(commands, all(below)...)
	}
	return commands
}

// callsOf returns the calls of a file, after those that every command has.
func callsOf(c *cobra.Command, text string) (calls []string) {
	name := strings.TrimPrefix(c.CommandPath()+" ", "dray ")
	calls = []string{name + "--help", "__complete " + name + "''", "__complete " + name + "-"}
	for _, m := range callLine.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(calls[:3], m[1]) {
			calls = append(calls, m[1])
		}
	}
	if len(calls) == 3 {
		calls = append(calls, name+"-o json", name+"--no-such-flag -o json")
	}
	return calls
}

// caller makes calls where a command finds two registries and a folder with configs.
type caller struct {
	env map[string]string
	// filled puts the registries' addresses and the folder's into a text, and plain takes them out.
	filled, plain *strings.Replacer
	// stop ends the call that goes on; nil for none.
	stop func()
}

func newCaller(t *testing.T) *caller {
	t.Helper()
	source := registry.New(registry.Options{})
	for i, name := range []string{"app:v1", "app:v2", "moved:v1"} {
		repository, tag, _ := strings.Cut(name, ":")
		if err := registry.SingleArch(int64(i), "linux/amd64", registry.ImageOptions{LayerSize: 1000}).Push(source, repository, tag); err != nil {
			t.Fatal(err)
		}
	}
	target := registry.New(registry.Options{})
	if err := registry.SingleArch(7, "linux/amd64", registry.ImageOptions{LayerSize: 1000}).Push(target, "moved", "v1"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join("testdata", "commands.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	dir, from, to := shortDir(t), start(t, source), strings.Replace(start(t, target), "127.0.0.1", "localhost", 1) // so that their order is not the ports'
	filled := strings.NewReplacer("source.example", from, "target.example", to, "/DIR", dir)
	for _, f := range txtar.Parse(data).Files {
		path := filepath.Join(dir, f.Name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(filled.Replace(string(f.Data))), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return &caller{
		filled: filled,
		env:    map[string]string{"HOME": dir, "USER": "ann"},
		plain:  strings.NewReplacer(from, "source.example", to, "target.example", dir, "/DIR", "ann@"+host, "ann@host"),
	}
}

// varying are parts of an answer that differ from call to call, with what replaces them.
var varying = []struct {
	part *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`"2\d{3}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)"`), `"TIME"`},
	// That of a bundle's document, which has the time.
	{regexp.MustCompile(`("sha256": ?)"sha256:[0-9a-f]{64}"`), `${1}"…"`},
	{regexp.MustCompile(`("\w+_seconds": )[\d.e+-]+`), `${1}0`},
	{regexp.MustCompile(`("(dray|version|commit|go|platform|azcore|azidentity|cron|fsnotify|regclient|sqlite)": ?)"[^"]*"`), `${1}"…"`},
	{regexp.MustCompile(`\d+(\.\d+)?(ms|µs)`), `0s`},
	{regexp.MustCompile(`"duration":"[^"]*"`), `"duration":"0s"`},
	{regexp.MustCompile(`, in \d+(\.\d+)?s\b`), `, in 0s`},
	{regexp.MustCompile(`\b\ds ago`), `0s ago`},
	// What fails is tried again after a minute.
	{regexp.MustCompile(`"failures": [1-9]\d*`), `"failures": 1`},
}

// call makes a call and returns it with its answer.
func (w *caller) call(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	s := streams{getenv: func(k string) (string, bool) { v, ok := w.env[k]; return v, ok }}
	var args []string
	for _, word := range strings.Fields(line) {
		switch name, isFile := strings.CutPrefix(word, "<"); {
		case isFile:
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s.in = bytes.NewReader(data)
		case word == "^C":
			cancel(&signalError{os.Interrupt})
		case word == "&":
			w.goOn(t, args, s)
			return "$ dray " + line + "\n"
		default:
			args = append(args, w.filled.Replace(strings.Trim(word, "'")))
		}
	}
	var out, log bytes.Buffer
	s.out, s.err = &out, &log
	code := run(ctx, args, s)
	if slices.Contains(args, "json") && !strings.HasPrefix(line, "__") && out.Len() > 0 {
		decoder := json.NewDecoder(bytes.NewReader(out.Bytes()))
		if err := decoder.Decode(new(any)); err != nil || decoder.More() {
			t.Errorf("dray %s: the answer is not one document: %v", line, err)
		}
	}
	text := fmt.Sprintf("$ dray %s\nexit %d\n%s", line, code, out.String())
	if log.Len() > 0 {
		text += "stderr:\n" + log.String()
	}
	text = w.plain.Replace(text)
	for _, v := range varying {
		text = v.part.ReplaceAllString(text, v.by)
	}
	return strings.TrimRight(text, "\n") + "\n\n"
}

// goOn makes a call that goes on, in place of the one before, and returns when it is ready and its first runs have ended: one that is asked for
// meanwhile may be such a run, or follow it.
func (w *caller) goOn(t *testing.T, args []string, s streams) {
	t.Helper()
	if w.stop != nil {
		w.stop()
	}
	socket := &net.UnixAddr{Name: filepath.Join(w.env["HOME"], "ready"), Net: "unixgram"}
	ready, err := net.ListenUnixgram("unixgram", socket)
	if err != nil {
		t.Fatal(err)
	}
	w.env["NOTIFY_SOCKET"] = socket.Name
	ctx, cancel := context.WithCancelCause(t.Context())
	var log bytes.Buffer
	s.out, s.err = &log, &log
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, s) }()
	w.stop = sync.OnceFunc(func() {
		cancel(&signalError{os.Interrupt})
		if code := <-ended; code != exitDone {
			t.Errorf("dray %s: exit code %d\n%s", strings.Join(args, " "), code, log.String())
		}
		_ = ready.Close()
		_ = os.Remove(socket.Name)
	})
	t.Cleanup(w.stop)
	if err := ready.SetReadDeadline(time.Now().Add(started)); err != nil {
		t.Fatal(err)
	}
	for buffer := make([]byte, 1000); ; {
		n, err := ready.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(buffer[:n]), "READY=1") {
			break
		}
	}
	client := web.NewClient("unix:"+filepath.Join(w.env["HOME"], "s"), "")
	defer client.Close()
	until(t, "no job runs or waits", func() bool {
		status, err := client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return status.Totals.Running+status.Totals.Waiting == 0
	})
}
