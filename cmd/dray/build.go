package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/keyless"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/spelling"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/transfer"
)

// watcher follows a run. It is closed when the run ends.
type watcher interface {
	mirror.Watcher
	Close()
}

// quiet follows nothing.
type quiet struct{ report.Quiet }

// Close does nothing.
func (quiet) Close() {}

// process has the parts that commands and the daemon share for the lifetime of the process: the store, the limits, and their dependents.
// They are closed in reverse order.
type process struct {
	*app
	log   *slog.Logger
	store *store.Store // nil for none
	keep  func(ctx context.Context, m *metrics.Metrics, log *slog.Logger) (kept, error)
	// holds are shared with other processes; nil where there are none.
	holds   transfer.Holds
	metrics *metrics.Metrics // nil for none
	limits  *limits
	// readFile reads files that may change while the process runs; nil if changes do not matter.
	readFile func(string) ([]byte, error)
	// links are those of the current generation.
	links *links
	// unsigned are the tags that were refused since their images are not signed.
	unsigned mirror.Unsigned
	closers  []func(context.Context) error
}

// newProcess builds the parts that do not depend on registries. m counts pulls and requests; nil for no metrics.
func (a *app) newProcess(ctx context.Context, cfg *config.Config, m *metrics.Metrics, log *slog.Logger) *process {
	own := a.logger(cfg.Log)
	if m != nil { // a daemon has one log
		own = log
	}
	memory := a.remember(ctx, cfg, own)
	p := &process{app: a, log: log, store: memory.store, keep: memory.keep, metrics: m}
	var pulled func(registry, account string)
	var saved func(by string)
	if m != nil {
		pulled, saved = m.Pulled, m.Saved
	}
	p.limits = newLimits(p.store, memory.patience, pulled, saved, log)
	if p.store != nil {
		p.atClose(func(context.Context) error {
			p.limits.governor.Keep()
			return p.store.Close()
		})
	}
	return p
}

// atClose makes close call f, before functions registered earlier.
func (p *process) atClose(f func(context.Context) error) { p.closers = append(p.closers, f) }

// close calls the functions registered by atClose, the newest first.
func (p *process) close(ctx context.Context) error {
	var errs []error
	for _, f := range slices.Backward(p.closers) {
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

// generation is everything built from one reading of the config.
type generation struct {
	*process
	*links
	config *config.Config
	jobs   []plan.Job
}

// build builds a generation from a config.
func (p *process) build(cfg *config.Config, jobs []plan.Job) (*generation, error) {
	links, err := p.link(cfg)
	if err != nil {
		return nil, err
	}
	return &generation{process: p, links: links, config: cfg, jobs: jobs}, nil
}

// take makes the generation the current one.
func (g *generation) take() {
	g.process.links = g.links
	g.limits.follow(g.config, g.client)
}

// mirror returns a mirror for the jobs of the generation.
func (g *generation) mirror(watch mirror.Watcher) *mirror.Mirror {
	m := g.links.mirror()
	m.Watcher, m.Log = g.work.follow(watch), g.log
	return m
}

// load reads and compiles the config. Its errors have positions in the file. With an error, the config has only the list of its files.
func (a *app) load() (*config.Config, []plan.Job, error) {
	return a.loadWith(false)
}

// loadWith is load, without variables and files with secrets where noSecrets is set.
func (a *app) loadWith(noSecrets bool) (cfg *config.Config, jobs []plan.Job, err error) {
	options := a.configOptions(&jobs)
	options.NoSecrets = noSecrets
	if cfg, err = a.readConfig(options); err != nil {
		return cfg, nil, &exitError{exitUsage, err}
	}
	return cfg, jobs, nil
}

// configOptions has configs read with all that this program has, and leaves their jobs.
func (a *app) configOptions(jobs *[]plan.Job) config.Options {
	return config.Options{Getenv: a.getenv, Root: keyless.ParseRoot, Check: func(cfg *config.Config) (err error) {
		*jobs, err = plan.Compile(cfg)
		return err
	}}
}

// fromStdin is the name of stdin as a config file.
const fromStdin = "-"

// readConfig reads the config file, or stdin, once.
func (a *app) readConfig(options config.Options) (*config.Config, error) {
	path, options := config.Locate(a.configs, options)
	switch i := slices.Index(a.configs, fromStdin); {
	case i < 0:
		return config.Load(path, options)
	case i > 0:
		return &config.Config{}, errors.New("--config -: stdin can only come first")
	}
	if a.stdin == nil {
		if a.in == nil {
			return &config.Config{}, errors.New("--config -: stdin is closed")
		}
		text, err := io.ReadAll(io.LimitReader(a.in, config.MaxFile+1))
		if err != nil {
			return &config.Config{}, fmt.Errorf("--config -: read stdin: %w", err)
		}
		a.stdin = text
	}
	return config.Parse("stdin", a.stdin, options)
}

// configName is what the config is called.
func (a *app) configName() string {
	if a.configs[0] == fromStdin {
		return strings.Join(append([]string{"stdin"}, a.configs[1:]...), ", ")
	}
	return strings.Join(a.configs, ", ")
}

// configOption is what a command needs to read the same config: empty, or -c with a space before it.
func (a *app) configOption() string {
	if len(a.configs) == 1 && a.configs[0] == a.usualConfig() {
		return ""
	}
	var option strings.Builder
	for _, name := range a.configs {
		option.WriteString(" -c " + report.Line(name))
	}
	return option.String()
}

// usualConfig is the config of a command that names none.
func (a *app) usualConfig() string { return cmp.Or(a.env("DRAY_CONFIG"), "dray.yaml") }

// build builds the only generation of a command. The caller closes it.
func (a *app) build(ctx context.Context, cfg *config.Config, jobs []plan.Job, log *slog.Logger) (*generation, error) {
	p := a.newProcess(ctx, cfg, nil, log)
	g, err := p.build(cfg, jobs)
	if err != nil {
		return nil, errors.Join(err, p.close(ctx))
	}
	g.take()
	p.atClose(func(context.Context) error { g.release(); return nil })
	return g, nil
}

// newEngine makes the engine "copy"; without a store it remembers nothing of earlier runs.
func newEngine(client *registry.Client, memory *store.Store, holds transfer.Holds, limits *limits, log *slog.Logger) *transfer.Engine {
	options := transfer.Options{
		Source: client, Artifacts: client, Target: client, Presence: client, Log: log,
		Metered: limits.governor.Metered, Free: client.Mirrored, Saved: limits.spared,
		Reserve: limits.reserve, Holds: holds, Idle: limits.governor.Idle,
	}
	if memory != nil {
		options.Memory, options.Now = memory, time.Now
	}
	return transfer.New(options)
}

func userAgent() string { return "dray/" + buildVersion().Version }

// How long the store keeps unused entries, and the maximum size of its manifests in bytes.
const (
	memoryLasts = 90 * 24 * time.Hour
	memoryBytes = 512 << 20
)

// memoryDir returns the directory of the store; empty for none.
func (a *app) memoryDir(cfg *config.Config) string { return cmp.Or(cfg.StateDir, a.stateDir()) }

// stateDir returns the default of the config's key: systemd's directory, else that of the XDG base directory specification.
func (a *app) stateDir() string {
	if dirs := a.env("STATE_DIRECTORY"); dirs != "" {
		first, _, _ := strings.Cut(dirs, ":")
		return first
	}
	if dir := a.env("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "dray")
	}
	if dir := a.env("HOME"); dir != "" {
		return filepath.Join(dir, ".local", "state", "dray")
	}
	return ""
}

// shownNames is how many mappings an error about an unknown name lists.
const shownNames = 10

// unknownMapping returns an error with similar names or, if there are none, with the existing ones.
func unknownMapping(name string, all []string) error {
	if near := spelling.Nearest(name, all, maxNearest); len(near) > 0 {
		return usage("no mapping is named %q%s", name, spelling.Suggestion(near))
	}
	if more := len(all) - shownNames; more > 0 {
		return usage("no mapping is named %q; there are: %q and %d more", name, all[:shownNames], more)
	}
	return usage("no mapping is named %q; there are: %q", name, all)
}

// choose returns the jobs with the given names, or all if none is given.
func choose(jobs []plan.Job, names []string) ([]plan.Job, error) {
	if len(names) == 0 {
		return jobs, nil
	}
	var chosen []plan.Job
	known := map[string]plan.Job{}
	var all []string
	for _, job := range jobs {
		known[job.Name] = job
		all = append(all, job.Name)
	}
	for _, name := range names {
		job, ok := known[name]
		if !ok {
			return nil, unknownMapping(name, all)
		}
		delete(known, name)
		chosen = append(chosen, job)
	}
	return chosen, nil
}
