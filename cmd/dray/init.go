package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/report"
)

// firstMapping is the mapping that init writes.
type firstMapping struct {
	source, target string
	// tags are empty if the source names one image.
	tags     []string
	schedule string
}

func (a *app) initCommand() *cobra.Command {
	var m firstMapping
	c := &cobra.Command{
		Use:   "init [SOURCE TARGET]",
		Short: "Write a first config file",
		Long: `Write a commented config file with one mapping, to dray.yaml or the file that --config names, - for stdout. On a
terminal, init asks for what the command line does not say. It replaces no file, and asks no registry.

  dray init docker.io/library/alpine registry.example/mirror/alpine --tags '3.*' --tags latest
  dray init ghcr.io/acme/base:1.4 ocidir:///srv/stage

` + exitHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 0 && len(args) != 2 {
				return usage("init takes a SOURCE and a TARGET, or neither (got %d arguments)", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(a.configs) > 1 {
				return usage("init writes one file: name one with --config")
			}
			if _, err := os.Lstat(a.configs[0]); err == nil && a.configs[0] != fromStdin {
				return usage("%s exists already; init replaces no file: name another with --config", a.configs[0])
			}
			if len(args) == 2 {
				m.source, m.target = args[0], args[1]
			}
			if err := a.complete(c.Context(), &m, !c.Flags().Changed("schedule")); err != nil {
				return err
			}
			return a.writeFirst(m)
		},
	}
	c.Flags().StringArrayVar(&m.tags, "tags", nil, "a `TAG` or pattern to import, such as 'v1.*'; may be repeated (default latest)")
	c.Flags().StringVar(&m.schedule, "schedule", "@daily", "when \"dray run\" syncs it: cron, @daily or @every 6h")
	return c
}

// complete asks for what is not known yet, and fills in the defaults.
func (a *app) complete(ctx context.Context, m *firstMapping, askSchedule bool) error {
	if m.source == "" {
		if !isTerminal(a.in) {
			return usage("init needs a SOURCE and a TARGET where it cannot ask for them: dray init docker.io/library/alpine registry.example/mirror/alpine")
		}
		q := questions{ctx: ctx, app: a, lines: bufio.NewReader(a.in)}
		m.source = q.ask("Source: an image or a repository, such as docker.io/library/alpine", "", func(s string) error { _, err := image.Parse(s); return err })
		m.target = q.ask("Target: a repository of yours, such as registry.example/mirror/alpine, or a folder, such as ocidir:///srv/mirror", "", func(s string) error { _, err := image.Parse(s); return err })
		if len(m.tags) == 0 && !oneImageOnly(m.source) {
			m.tags = strings.Fields(q.ask("Tags: names or patterns, such as 3.* latest", "latest", func(string) error { return nil }))
		}
		if askSchedule {
			m.schedule = q.ask("Schedule of dray run: cron, @daily or @every 6h", m.schedule, func(string) error { return nil })
		}
		if q.err != nil {
			return q.err
		}
	}
	switch one := oneImageOnly(m.source); {
	case one && len(m.tags) > 0:
		return usage("--tags: %s names one image already; leave its tag or digest out, or --tags", m.source)
	case !one && len(m.tags) == 0:
		m.tags = []string{"latest"}
	}
	return nil
}

// oneImageOnly reports whether a source names a tag or a digest.
func oneImageOnly(source string) bool {
	name := source[strings.LastIndexByte(source, '/')+1:]
	return strings.ContainsAny(name, ":@")
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// questions asks a user on a terminal, until one question fails.
type questions struct {
	ctx   context.Context //nolint:containedctx // it lives as long as one call
	app   *app
	lines *bufio.Reader
	err   error
}

// ask returns a line that is valid; an empty one means the default.
func (q *questions) ask(question, usual string, valid func(string) error) string {
	if usual != "" {
		question += " [" + usual + "]"
	}
	for q.err == nil {
		fmt.Fprint(q.app.out, question+": ")
		line := cmp.Or(strings.TrimSpace(q.line()), usual)
		if q.err != nil {
			break
		}
		err := valid(line)
		if err == nil && line != "" {
			return line
		}
		if err != nil {
			fmt.Fprintln(q.app.out, "  "+err.Error())
		}
	}
	return ""
}

// line reads a line, unless the context ends before: a read from a terminal cannot be interrupted.
func (q *questions) line() string {
	type read struct {
		line string
		err  error
	}
	answer := make(chan read, 1)
	go func() {
		line, err := q.lines.ReadString('\n')
		answer <- read{line, err}
	}()
	select {
	case r := <-answer:
		if r.err != nil {
			q.err = usage("the answer is missing: %w", r.err)
		}
		return r.line
	case <-q.ctx.Done():
		q.err = &exitError{exitFailed, q.ctx.Err()}
		return ""
	}
}

// writeFirst writes the file if dray can use it.
func (a *app) writeFirst(m firstMapping) error {
	name := a.configs[0]
	if name == fromStdin {
		name = "dray.yaml"
	}
	text := m.yaml(name)
	cfg, err := config.Parse(name, text, config.Options{Getenv: a.getenv})
	if err == nil {
		_, err = plan.Compile(cfg)
	}
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("nothing was written, since dray could not read it: %w", withoutPlaces(err))}
	}
	if a.configs[0] == fromStdin {
		_, err := a.out.Write(text)
		return err
	}
	f, err := os.OpenFile(a.configs[0], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // the user names it, and it has no secret
	switch {
	case errors.Is(err, fs.ErrExist):
		return usage("%s exists already; init replaces no file", a.configs[0])
	case err != nil:
		return &exitError{exitFailed, err}
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return &exitError{exitFailed, errors.Join(err, os.Remove(a.configs[0]))}
	}
	if a.output == "json" {
		return a.writeJSON(map[string]any{"version": 1, "command": "init", "config": a.configs[0]})
	}
	_, err = fmt.Fprintf(a.out, "%s is written. Next:\n  dray check --online%[2]s    signs in to the registries\n  dray plan%[2]s              shows what a sync would do\n  dray sync%[2]s              does it once, dray run%[2]s on its schedule\n", a.configs[0], a.configOption())
	return err
}

// withoutPlaces leaves the lines of the file out that nobody has seen.
func withoutPlaces(err error) error {
	invalid, ok := errors.AsType[config.Errors](err)
	if !ok {
		return err
	}
	var lines []error
	for _, e := range invalid {
		text := e.Key + ": " + e.Err.Error()
		if e.Hint != "" {
			text += "; " + e.Hint
		}
		lines = append(lines, errors.New(text))
	}
	return errors.Join(lines...)
}

// yaml returns the file.
func (m firstMapping) yaml(file string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `# Which images dray imports, and where to.
#   dray check -c %[1]s     validates this file; --online also signs in
#   dray plan -c %[1]s      shows what sync would do
#   dray run -c %[1]s       keeps the targets in sync, and follows changes of this file
# config.example.yaml and docs/configuration.md explain every key.
version: 1

mappings:
  - name: %[2]s
    source: %[3]s
    target: %[4]s
`, report.Line(file), quoted(path.Base(withoutTag(m.source))), quoted(m.source), quoted(m.target))
	if len(m.tags) > 0 {
		list := make([]string, 0, len(m.tags))
		for _, tag := range m.tags {
			list = append(list, quoted(tag))
		}
		fmt.Fprintf(&b, "    tags: [%s]    # names, patterns, or versions: {semver: \">= 1.2\", newest: 3}\n", strings.Join(list, ", "))
	}
	fmt.Fprintf(&b, "    schedule: %s    # for dray run: cron, @daily, @every 6h\n", quoted(m.schedule))
	b.WriteString(`    # platforms: [linux/amd64, linux/arm64]    # all, unless this names some

# dray signs in as docker login, podman login and credential helpers have saved it. Otherwise write it here:
# registries:
#   registry.example:
#     username: robot
#     password: ${env:REGISTRY_PASSWORD}    # or ${file:/run/secrets/registry}
`)
	return []byte(b.String())
}

// withoutTag returns a reference up to its tag or digest.
func withoutTag(ref string) string {
	name := ref[strings.LastIndexByte(ref, '/')+1:]
	end := strings.IndexAny(name, ":@")
	if end < 0 {
		return ref
	}
	return ref[:len(ref)-len(name)+end]
}

// quoted writes a text as YAML, in double quotes, as JSON does.
func quoted(text string) string {
	data, err := json.Marshal(text)
	if err != nil {
		return `""`
	}
	return string(data)
}
