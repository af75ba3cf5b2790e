package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/report"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/transfer"
)

// watcher follows a run, and ends with it.
type watcher interface {
	mirror.Watcher
	Close()
}

// quiet follows nothing.
type quiet struct{ report.Quiet }

// Close does nothing.
func (quiet) Close() {}

// generation is everything built from one reading of the config.
type generation struct {
	config *config.Config
	jobs   []plan.Job
	client *registry.Client
	mirror *mirror.Mirror
	store  *store.Store // nil where there is none
	limits *limits
}

// close gives back what the generation holds.
func (g *generation) close() error {
	err := g.client.Close()
	if g.store != nil {
		g.limits.governor.Keep()
		err = errors.Join(err, g.store.Close())
	}
	return err
}

// load reads and compiles the config. Its errors name their places in the file. readFile reads it and what it refers to; nil for
// the file system. With an error the config has the files that it is made of, no more.
func (a *app) load(readFile func(string) ([]byte, error)) (*config.Config, []plan.Job, error) {
	return a.loadWith(config.Options{Getenv: a.getenv, ReadFile: readFile})
}

func (a *app) loadWith(options config.Options) (*config.Config, []plan.Job, error) {
	cfg, err := config.Load(a.config, options)
	if err != nil {
		return cfg, nil, &exitError{exitUsage, err}
	}
	jobs, err := plan.Compile(cfg)
	if err != nil {
		return cfg, nil, &exitError{exitUsage, err}
	}
	return cfg, jobs, nil
}

// build puts the packages together. It is the only place that knows them all.
func (a *app) build(ctx context.Context, cfg *config.Config, jobs []plan.Job, watch mirror.Watcher, log *slog.Logger) (*generation, error) {
	credentials, err := auth.Load(a.env)
	if err != nil {
		return nil, &exitError{exitFailed, err}
	}
	azure, err := newAzure(cfg, nil, log)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("%s: %w", cfg.Path, err)}
	}
	memory := a.remember(ctx, cfg)
	limits := newLimits(memory, nil, nil, log)
	reach := reachOf(cfg.Registries)
	options := registry.Options{
		Hosts: reach.hosts, Mirrors: reach.mirrors, Keychain: reach.keychain(credentials, azure), UserAgent: userAgent(), Log: log,
		Wrap: func(name string, next http.RoundTripper) http.RoundTripper {
			return limits.wrap(name, a.work.transport(next))
		},
	}
	if memory != nil {
		options.Keep = memory.PutManifest
	}
	client, err := registry.New(options)
	if err != nil {
		if memory != nil {
			_ = memory.Close() // nothing was written
		}
		return nil, &exitError{exitUsage, fmt.Errorf("%s: %w", cfg.Path, err)}
	}
	limits.follow(cfg, client)
	built := &generation{config: cfg, jobs: jobs, client: client, store: memory, limits: limits}
	engines := azure.engine(client, credentials, memory, limits, newEngine(client, memory, limits, log), log)
	built.mirror = &mirror.Mirror{Observer: client, Engine: engines, Choose: engines.Choose, Look: engines.Look, Closed: engines.Closed, Pinned: engines.Pinned, Manifest: engines.Manifest, Watcher: a.work.follow(watch), Log: log}
	return built, nil
}

// newEngine makes the engine "copy"; without a store it remembers nothing of earlier runs.
func newEngine(client *registry.Client, memory *store.Store, limits *limits, log *slog.Logger) *transfer.Engine {
	options := transfer.Options{
		Source: client, Artifacts: client, Target: client, Presence: client, Log: log,
		Metered: limits.governor.Metered, Free: client.Mirrored, Saved: limits.spared,
		Reserve: limits.reserve,
	}
	if memory != nil {
		options.Memory, options.Now = memory, time.Now
	}
	return transfer.New(options)
}

func userAgent() string { return "dray/" + buildVersion().Version }

// How long the store keeps what nobody asks for, and how many bytes of manifests it keeps at the most.
const (
	memoryLasts = 90 * 24 * time.Hour
	memoryBytes = 512 << 20
)

// remember opens the store. It is a help, not the truth: where it cannot be opened that is said, and all goes on without it.
func (a *app) remember(ctx context.Context, cfg *config.Config) *store.Store {
	dir := cmp.Or(cfg.StateDir, a.stateDir())
	if dir == "" {
		return nil
	}
	log := a.logger(cfg.Log)
	s, err := store.Open(ctx, dir, store.Options{Log: log, Now: time.Now})
	if err == nil {
		err = prune(ctx, s)
	}
	if err != nil && ctx.Err() == nil {
		log.LogAttrs(ctx, slog.LevelWarn, "going on without a memory of earlier runs", slog.Any("err", err))
	}
	return s
}

// stateDir is the default of the config's key: what systemd gives, else the place of the XDG base directory specification.
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

// choose returns the jobs with the given names, all where none is given.
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
			return nil, usage("no mapping is named %q; there are: %q", name, all)
		}
		delete(known, name)
		chosen = append(chosen, job)
	}
	return chosen, nil
}
