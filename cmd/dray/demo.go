package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/emulator/hub"
	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/web"
)

func (a *app) demoCommand() *cobra.Command {
	var keep, counting bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "See dray at work, with built-in registries",
		Long: `Start two registries on this machine, fill one with a few small images, write a config file into a temporary
folder, and run plan and sync. Then move a tag at the source, sync again, and let the daemon do the same by
itself. With --keep the demo goes on until Ctrl-C: tags move, and you can edit the file. With --hub the source
allows 8 pulls a minute, as Docker Hub allows 100 an hour, and you see how dray keeps within that.

` + exitHelp,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.output != "text" {
				return usage("demo answers in text only")
			}
			if counting {
				return a.demoHub(c.Context())
			}
			return a.demo(c.Context(), keep)
		},
	}
	c.Flags().BoolVar(&counting, "hub", false, "use a source that counts pulls")
	c.Flags().BoolVar(&keep, "keep", false, "keep the registries and the daemon running until Ctrl-C")
	c.MarkFlagsMutuallyExclusive("hub", "keep")
	return c
}

// demo runs the demo. It uses the real plan and sync commands.
func (a *app) demo(ctx context.Context, keep bool) error {
	stage, err := newStage(nil)
	if err != nil {
		return &exitError{exitFailed, fmt.Errorf("demo: %w", err)}
	}
	defer stage.close()
	a.configs = []string{stage.file}
	a.say("Two registries run on this machine: the source at %s, the target at %s, which is empty.", stage.source.Host, stage.target.Host)
	a.say("The source holds team/base and team/tool: %d tags for two and three platforms.", len(demoTags))
	a.say("The config file is %s:", stage.file)
	fmt.Fprintln(a.out, indent(stage.text))
	steps := []func() error{
		func() error { return a.demoStep("plan", func() error { return a.demoRun(ctx, true) }) },
		func() error { return a.demoStep("sync", func() error { return a.demoRun(ctx, false) }) },
		stage.move,
		func() error {
			a.say("The tag team/base:latest has moved at the source.")
			return a.demoStep("plan", func() error { return a.demoRun(ctx, true) })
		},
		func() error { return a.demoStep("sync", func() error { return a.demoRun(ctx, false) }) },
		func() error {
			a.say("Nothing has changed since, so the next sync imports nothing.")
			return a.demoStep("sync", func() error { return a.demoRun(ctx, false) })
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	if err := a.demoDaemon(ctx, stage, keep); err != nil {
		return err
	}
	a.say("Done. The config file stays at %s; dray demo --keep lets the registries and the daemon go on.", stage.file)
	return nil
}

// The number of pulls that the demo's hub allows, and their window.
const (
	demoPulls  = 8
	demoWindow = time.Minute
)

// demoHub syncs from a source that counts pulls.
func (a *app) demoHub(ctx context.Context) error {
	var counter *hub.Hub
	stage, err := newStage(func(content *registry.Registry) *registry.Gate {
		counter = hub.New(content, hub.Options{Limit: demoPulls, Window: demoWindow, Fixed: true})
		return registry.NewGate(counter)
	})
	if err != nil {
		return &exitError{exitFailed, fmt.Errorf("demo: %w", err)}
	}
	defer stage.close()
	a.configs = []string{stage.file}
	a.say("The source at %s allows %d manifest fetches in %s, and counts them.", stage.source.Host, demoPulls, demoWindow)
	a.say("The config file is %s:", stage.file)
	fmt.Fprintln(a.out, indent(stage.text))
	cfg, jobs, err := a.load()
	if err != nil {
		return err
	}
	if err := a.demoStep("plan", func() error { return a.plan(ctx, cfg, jobs, nil, "", false) }); err != nil {
		return err
	}
	a.say("Imports beyond the limit are deferred, which costs nothing; with --wait, dray waits until all are done. This takes some minutes.")
	err = a.demoStep("sync --wait", func() error { return a.sync(ctx, "sync", cfg, jobs, syncAll, true) })
	seen := counter.Account()
	a.say("The source has counted %d pulls, %d of them repeated, and refused %d requests.", seen.Pulled, seen.Repeated, seen.Refused)
	return err
}

// demoDaemon runs the daemon after a tag has moved.
func (a *app) demoDaemon(ctx context.Context, stage *stage, keep bool) error {
	if err := stage.move(); err != nil {
		return &exitError{exitFailed, err}
	}
	a.say("The tag moves once more. This time a daemon imports it, which runs each mapping every 10 seconds.")
	a.say("$ dray run -c %s", a.configName())
	life, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- a.serve(life) }()
	select {
	case err := <-ended:
		return err
	case <-stage.synced(life):
	}
	err := a.demoStep("status", func() error {
		return a.withClient(daemonAddress{server: stage.listen}, func(client *web.Client) error { return a.status(life, client, "", false) })
	})
	if err == nil && keep {
		a.say("The daemon runs until Ctrl-C, and a tag moves every 20 seconds. Edit %s, and look at http://%s/ or:", stage.file, stage.listen)
		fmt.Fprintf(a.out, "    dray status --watch -c %s\n    crane digest --insecure %s/mirror/base:latest\n", stage.file, stage.target.Host)
		if failed := stage.keepMoving(ctx); failed != nil {
			err = &exitError{exitFailed, failed}
		}
	}
	stop()
	return cmp.Or(err, <-ended)
}

func (a *app) demoStep(command string, run func() error) error {
	a.say("$ dray %s -c %s", command, a.configName())
	return run()
}

// demoRun reads the config file again, as a command does.
func (a *app) demoRun(ctx context.Context, only bool) error {
	cfg, jobs, err := a.load()
	if err != nil {
		return err
	}
	if only {
		return a.plan(ctx, cfg, jobs, nil, "", false)
	}
	return a.sync(ctx, "sync", cfg, jobs, syncAll, false)
}

func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.out, "\n%s\n", a.style().Bold(report.Line(fmt.Sprintf(format, args...))))
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}

// stage has the demo's registries and files.
type stage struct {
	source, target  *registry.Server
	content, mirror *registry.Registry
	file, text      string
	listen          string // the daemon's address
	base            []registry.Layer
	seed            int64  // of the image of latest
	limit           string // the source's limit in the config
}

// demoTags are the tags at the source, by repository; the number is the seed of the content.
var demoTags = []struct {
	repository, tag string
	seed            int64
}{
	{"team/base", "1.0.0", 10}, {"team/base", "1.1.0", 11}, {"team/base", "1.2.0", 12}, {"team/base", "latest", 12},
	{"team/base", "2.0.0-rc1", 20}, {"team/tool", "0.9", 90}, {"team/tool", "1.0", 91},
}

// newStage starts the registries. before wraps the source's handler; nil for none.
func newStage(before func(*registry.Registry) *registry.Gate) (*stage, error) {
	options := registry.Options{Referrers: true}
	s := &stage{content: registry.New(options), mirror: registry.New(options), base: []registry.Layer{registry.NewLayer(1, 300_000)}, seed: 12}
	for _, t := range demoTags {
		if err := s.image(t.repository, t.seed).Push(s.content, t.repository, t.tag); err != nil {
			return nil, err
		}
	}
	var err error
	gate := s.content.Gate
	if before != nil {
		gate = before(s.content)
		s.limit = fmt.Sprintf(", rateLimit: {pullsPerWindow: %d, window: %s}", demoPulls, demoWindow)
	}
	if s.source, err = gate.Start(); err != nil {
		return nil, err
	}
	if s.target, err = s.mirror.Start(); err != nil {
		s.source.Close()
		return nil, err
	}
	if err := s.configure(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// configure writes the config file, with a free address for the daemon.
func (s *stage) configure() error {
	folder, err := os.MkdirTemp("", "dray-demo-")
	if err != nil {
		return err
	}
	free, err := web.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.listen = free.Addr().String()
	if err := free.Close(); err != nil {
		return err
	}
	s.file = filepath.Join(folder, "dray.yaml")
	s.text = demoConfig(s.source.Host, s.target.Host, s.listen, folder, s.limit)
	return os.WriteFile(s.file, []byte(s.text), 0o600)
}

func (s *stage) image(repository string, seed int64) registry.Image {
	options := registry.ImageOptions{Base: s.base, LayerSize: 80_000, Platforms: []string{"linux/amd64", "linux/arm64"}}
	if repository == "team/tool" {
		options.Platforms = append(options.Platforms, "linux/arm/v7")
	}
	return registry.MultiArch(seed, options)
}

// move moves latest to another image.
func (s *stage) move() error {
	s.seed++
	return s.image("team/base", s.seed).Push(s.content, "team/base", "latest")
}

// keepMoving moves latest repeatedly, until ctx ends.
func (s *stage) keepMoving(ctx context.Context) error {
	ticker := time.NewTicker(20 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.move(); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// synced is closed once the daemon has run every mapping, or ctx ends.
func (s *stage) synced(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		client := web.NewClient(s.listen, "")
		defer client.Close()
		for ctx.Err() == nil {
			status, err := client.Status(ctx)
			if err == nil && !slices.ContainsFunc(status.Jobs, func(j record.JobStatus) bool { return j.Last == nil }) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return done
}

func (s *stage) close() {
	s.source.Close()
	s.target.Close()
}

func demoConfig(source, target, listen, folder, limit string) string {
	return fmt.Sprintf(`version: 1
stateDir: state
log: {level: warn}
server: {listen: "%[4]s"}
defaults: {schedule: "@every 10s"}
registries:
  %[1]s: {plainHTTP: true%[5]s}
  %[2]s: {plainHTTP: true}
mappings:
  - name: base
    source: %[1]s/team/base
    target: %[2]s/mirror/base
    tags: {include: ["*", latest], semver: ">= 1.1"}
  - name: tool
    source: %[1]s/team/tool
    targets: [%[2]s/mirror/tool, "ocidir://%[3]s/stage"]
    tags: ["1.0"]
    platforms: [linux/amd64, linux/arm64]
`, source, target, folder, listen, limit)
}
