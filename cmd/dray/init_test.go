//go:build linux

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/draysync/dray/internal/emulator/registry"
)

// TestInit: what init writes is valid and says what was asked for; what it cannot write leaves no file.
func TestInit(t *testing.T) {
	type job struct {
		Name, Source, Target string
		Chosen               []string // of the tags 3.1, 3.2, 4, latest
		Schedule             string
	}
	for name, tt := range map[string]struct {
		args    string
		want    job
		refused string
	}{
		"the usual":     {args: "docker.io/library/alpine b.io/alpine", want: job{"alpine", "docker.io/library/alpine", "b.io/alpine", []string{"latest"}, "@daily"}},
		"tags":          {args: "ghcr.io/acme/base b.io/x --tags 3.* --tags 4", want: job{"base", "ghcr.io/acme/base", "b.io/x", []string{"3.1", "3.2", "4"}, "@daily"}},
		"one image":     {args: "ghcr.io/acme/base:3.1 b.io/x --schedule @hourly", want: job{"base", "ghcr.io/acme/base:3.1", "b.io/x:3.1", nil, "@hourly"}},
		"a port":        {args: "localhost:5000/base localhost:5001/x", want: job{"base", "localhost:5000/base", "localhost:5001/x", []string{"latest"}, "@daily"}},
		"an argument":   {args: "alpine", refused: "init takes a SOURCE and a TARGET, or neither (got 1 arguments)"},
		"none":          {args: "", refused: "init needs a SOURCE and a TARGET where it cannot ask"},
		"a scheme":      {args: "https://alpine b.io/x", refused: "nothing was written, since dray could not read it: mappings[0].source: "},
		"no target":     {args: "alpine registry.example", refused: "names a registry and no repository"},
		"tags twice":    {args: "alpine:3 b.io/x --tags 4", refused: "--tags: alpine:3 names one image already"},
		"a bad tag":     {args: "alpine b.io/x --tags -x", refused: "mappings[0].tags[0]: "},
		"a bad time":    {args: "alpine b.io/x --schedule daily", refused: "mappings[0].schedule: "},
		"a password":    {args: "robot:s3cret@a.io/x b.io/x", refused: "write them under registries"},
		"both the same": {args: "alpine docker.io/library/alpine", refused: "nothing was written"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "dray.yaml")
			a := dray(t, append([]string{"init", "-c", file}, strings.Fields(tt.args)...)...)
			if tt.refused != "" {
				_, err := os.Stat(file)
				if a.code != exitUsage || !strings.Contains(a.err, tt.refused) || err == nil || strings.Contains(a.err, "s3cret") {
					t.Errorf("%+v, file: %v", a, err)
				}
				return
			}
			if a.code != exitDone || !strings.Contains(a.out, "dray plan -c "+file) {
				t.Fatalf("%+v", a)
			}
			if again := dray(t, "init", "-c", file, "a.io/x", "b.io/x"); again.code != exitUsage || !strings.Contains(again.err, "exists already") {
				t.Errorf("%+v", again)
			}
			config := &app{flags: flags{configs: []string{file}}, streams: streams{getenv: os.LookupEnv}}
			_, jobs, err := config.load()
			if err != nil || len(jobs) != 1 {
				t.Fatalf("%d jobs, %v", len(jobs), err)
			}
			j := jobs[0]
			got := job{j.Name, j.Source.String(), j.Targets[0].String(), nil, j.Schedule.String()}
			if !j.Image() {
				got.Chosen = j.Tags.Select([]string{"3.1", "3.2", "4", "latest"})
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestInitAsks has a session on a terminal: init asks, again where an answer is wrong, and check, plan and sync work with what it has written.
func TestInitAsks(t *testing.T) {
	t.Parallel()
	source := registry.New(registry.Options{})
	if err := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{}).Push(source, "acme/app", "v1"); err != nil {
		t.Fatal(err)
	}
	from, to, folder := start(t, source), start(t, registry.New(registry.Options{})), t.TempDir()
	near, far := pseudoTerminal(t, 100)
	defer func() { _ = near.Close() }()
	command := exec.CommandContext(t.Context(), os.Args[0], "init")
	command.Env, command.Dir = []string{asDray + "=1", "HOME=" + folder}, folder
	command.Stdin, command.Stdout, command.Stderr = far, far, far
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	if _, err := io.WriteString(near, "https://"+from+"/acme/app\n"+from+"/acme/app\n"+to+"/app\nv*\n\n"); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	_, _ = io.Copy(&said, near) // ends with an error when the command has ended
	if err := command.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	for _, want := range []string{"Source: ", "without a scheme", "Target: ", "Tags: ", "[latest]", "Schedule of dray run: ", "[@daily]", "dray.yaml is written", "dray plan "} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not in %s", want, said.String())
		}
	}
	for _, step := range []struct {
		args string
		says []string
	}{
		{"check", []string{"dray.yaml is valid"}},
		{"plan -out the.plan", []string{"+ v1", "the.plan has the plan, with 1 to import", "dray sync the.plan"}},
		{"sync the.plan", []string{to + "/app:v1", "Sync: 1 imported"}},
		{"sync the.plan", []string{"Sync: 0 imported, 1 unchanged"}},
	} {
		near, far := pseudoTerminal(t, 100)
		c := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(step.args)...)
		c.Env, c.Dir, c.Stdin, c.Stdout, c.Stderr = command.Env, folder, far, far, far
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		_ = far.Close()
		var said bytes.Buffer
		_, _ = io.Copy(&said, near)
		_ = near.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v", step.args, err)
		}
		for _, want := range step.says {
			if !strings.Contains(said.String(), want) {
				t.Errorf("%s: %q is not in %s", step.args, want, said.String())
			}
		}
	}
}
