package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/fulltest"
)

// fence is a block of a document that is a config or a part of one, or commands; what a reader cannot run offline is marked as text.
var fence = regexp.MustCompile("(?s)```(sh|yaml)\n(.*?)```")

// TestDocumentedCommands does what the documents tell a reader to do, in their order: each whole config becomes dray.yaml, each command is
// run by a shell. Registries with the same content stand in for those that are named.
func TestDocumentedCommands(t *testing.T) {
	fulltest.Long(t)
	t.Parallel()
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	beside, err := filepath.Glob("../../examples/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for _, path := range slices.Concat(documents, beside, []string{"../../README.md"}) {
		if filepath.Base(path) == "air-gap.md" { // TestWalkThroughs runs it, with media
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		blocks := fence.FindAllStringSubmatch(string(text), -1)
		script, commands := "", 0
		r := newReader(t)
		for _, b := range blocks {
			if b[1] == "yaml" && strings.HasPrefix(b[2], "# dray.yaml") {
				script += "cat >dray.yaml <<'END'\n" + r.names(b[2]) + serverLine(newDesk(t).socket) + "\nEND\n"
			}
			if b[1] != "sh" {
				continue
			}
			for line := range strings.Lines(r.names(b[2])) {
				if command, ok := r.command(strings.TrimSpace(line)); ok {
					script += command + "\n"
					commands++
				}
			}
		}
		if commands == 0 {
			continue
		}
		name := strings.TrimPrefix(path, "../../")
		ran[name] = commands
		r.run(t, name, script)
	}
	if ran["README.md"] < 8 || ran["docs/getting-started.md"] < 7 || ran["examples/air-gap/README.md"] < 6 {
		t.Errorf("only these commands were run: %v", ran)
	}
	t.Log(ran)
}

// reader is somebody who reads a document, in an empty folder with the program.
type reader struct{ dir, source, target, listen string }

func newReader(t *testing.T) *reader {
	t.Helper()
	return newReaderOf(t, registry.New(registry.Options{}), registry.New(registry.Options{}), 1000)
}

// newReaderOf returns a reader with a source of images, which have layers of a size, and a target.
func newReaderOf(t *testing.T, source, target *registry.Registry, size int64) *reader {
	t.Helper()
	for i, name := range []string{"alpine:3.19", "alpine:3.20", "alpine:3.21", "alpine:3.22", "alpine:3.22.1", "alpine:latest", "busybox:latest", "hello-world:latest"} {
		repository, tag, _ := strings.Cut(name, ":")
		if err := registry.MultiArch(int64(i), registry.ImageOptions{LayerSize: size}).Push(source, "library/"+repository, tag); err != nil {
			t.Fatal(err)
		}
	}
	r := &reader{dir: t.TempDir(), source: start(t, source), target: start(t, target)}
	port, err := net.Listen("tcp", "127.0.0.2:0") // where nothing else listens, so that the port stays free
	if err != nil {
		t.Fatal(err)
	}
	r.listen = port.Addr().String()
	_ = port.Close()
	writeProgram(t, filepath.Join(r.dir, "dray"), fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asDray, os.Args[0]))
	r.examples(t)
	return r
}

// examples puts the configs of the air gap beside the program.
func (r *reader) examples(t *testing.T) {
	t.Helper()
	secret := filepath.Join(r.dir, "secret")
	if err := os.WriteFile(secret, []byte("none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"out.yaml", "in.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "examples", "air-gap", name))
		if err != nil {
			t.Fatal(err)
		}
		config := strings.NewReplacer("/run/secrets/registry", secret, "tls: {caFile: /etc/dray/inside-ca.pem}", "plainHTTP: true").Replace(r.names(string(text)))
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// names puts the stand-ins for the registries that a document names.
func (r *reader) names(text string) string {
	return strings.NewReplacer("docker.io/library", r.source+"/library", "registry.example:5000", r.target, "registry.inside.example:5000", r.target, "localhost:5000", r.target,
		" alpine:3.22 ", " "+r.source+"/library/alpine:3.22 ").Replace(text)
}

// command is what a line does; false where it compiles or tests the program, or is none.
func (r *reader) command(line string) (string, bool) {
	line = strings.Replace(line, "go run ./cmd/dray ", "dray ", 1)
	switch program, rest, _ := strings.Cut(strings.TrimPrefix(line, "./"), " "); {
	case slices.Contains([]string{"tar", "mkdir", "cp", "mv", "rm"}, program):
		return line, true
	case program == "skopeo" && fulltest.Enabled():
		return strings.Replace(line, "skopeo ", "skopeo --insecure-policy ", 1), true
	case program != "dray":
		return "", false
	case strings.HasPrefix(rest, "run"): // goes on until the end; the next lines find it at work
		return "dray run 2>run.log & for i in $(seq 600); do ./dray status >/dev/null 2>&1 && break; sleep 0.1; done; cat run.log", true
	}
	if command, code, ok := strings.Cut(line, "# exit code "); ok {
		return "code=0; " + command + " || code=$?; [ $code = " + code[:1] + " ]", true
	}
	return line, true
}

func (r *reader) run(t *testing.T, name, script string) {
	t.Helper()
	c := exec.Command("sh", "-exc", "trap 'kill $! 2>/dev/null || :' EXIT\n"+script) //nolint:gosec // it is the documentation's
	c.Dir = r.dir
	c.Env = []string{"PATH=" + r.dir + ":" + os.Getenv("PATH"), "HOME=" + r.dir}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}
