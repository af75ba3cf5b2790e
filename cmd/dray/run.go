package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/notify"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/receiver"
	"github.com/draysync/dray/internal/serve"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/watch"
	"github.com/draysync/dray/internal/web"
	"github.com/draysync/dray/internal/webhook"
)

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Sync on schedule until stopped",
		Long: `Run every mapping on its schedule until SIGTERM or SIGINT. Then dray starts nothing new, and running imports may
finish within the config's shutdownGrace; a second signal ends them at once. The exit code is 0, unless something
hangs: then dray ends the process two seconds after the grace at the latest.

dray watches the files of the config, and the secrets that they name. A change takes effect within
two seconds. A file with mistakes is rejected as a whole, and stays in effect as it was when it was last good.
SIGHUP reloads now. "dray status" shows what the daemon does; server.listen in the config sets its address.

` + exitHelp,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if slices.Contains(a.configs, fromStdin) {
				return usage("run follows its config file, and cannot follow stdin: name a file with --config")
			}
			return a.serve(c.Context())
		},
	}
}

// pruneEvery is how often the store is pruned.
const pruneEvery = 6 * time.Hour

// closing limits the time after the grace for the final steps: to record runs, to answer requests, to notify.
const closing = 500 * time.Millisecond

// serve runs the daemon until ctx ends. Running work then gets the grace period, unless it is abandoned.
func (a *app) serve(ctx context.Context) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	defer a.work.allow(0)
	s, err := a.newService(ctx)
	switch {
	case err != nil && ctx.Err() != nil: // it was stopped before it had begun
		return nil
	case err != nil:
		return err
	}
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	heard := make(chan struct{})
	listening, deaf := context.WithCancel(life)
	go func() {
		defer close(heard)
		s.listen(listening, hangups, ctx.Done(), kill)
	}()
	err = s.run(life, ctx.Done())
	s.shut(life)
	deaf()
	<-heard
	return err
}

// service is the process of a daemon.
type service struct {
	*process
	watch  *watch.Watcher
	hooks  *webhook.Sender
	level  *slog.LevelVar
	daemon *daemon.Daemon
	server *web.Server // nil if the daemon does not listen
	door   net.Listener
	// registry serves layouts at its own door; nil if the config has none.
	registry     *serve.Server
	registryDoor net.Listener
	// fixed are the settings that cannot change while the process runs.
	fixed []fixed
	// reader reads the config, and leaves its jobs.
	reader *config.Reader
	jobs   []plan.Job
	// started is the config that the process was started with, and its jobs, until they are taken.
	started *reading
	// receivers take events; sources are those of the current generation's jobs.
	receivers *receiver.Set
	sources   atomic.Pointer[plan.Sources]
	// azure is the Azure side of the current generation, with its jobs.
	azure atomic.Pointer[azureJobs]
	// current is the config of the current generation.
	current atomic.Pointer[current]
	// tail has the last lines of the log.
	tail logTail
	// tags are what runs have seen at targets.
	tags *tagMemory
}

// newService builds the daemon. If it returns an error, nothing stays open.
func (a *app) newService(ctx context.Context) (*service, error) {
	s := &service{watch: watch.New(watch.Options{}), level: &slog.LevelVar{}, tags: newTagMemory(maxTags)}
	options := a.configOptions(&s.jobs)
	options.ReadFile, options.List = s.watch.ReadFile, s.watch.List
	s.reader = config.NewReader(config.Locate(a.configs, options))
	cfg, rejected, err := s.reader.Read()
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	s.fixed, s.started = fixedOf(cfg), &reading{cfg, s.jobs, rejected}
	s.level.Set(a.level(cfg.Log))
	log := a.loggerAt(cfg.Log, s.level)
	if c := cfg.Cluster; c.Ledger != "" {
		log = log.With(slog.String("replica", replicaName(c)))
	}
	s.process = a.newProcess(ctx, cfg, metrics.New(buildVersion().Version, "copy"), slog.New(tailHandler{log.Handler(), &s.tail}))
	s.readFile = s.watch.ReadFile
	if err := s.assemble(ctx, cfg); err != nil {
		return nil, errors.Join(&exitError{exitFailed, err}, s.close(ctx))
	}
	return s, nil
}

// assemble builds the parts that only a daemon has.
func (s *service) assemble(ctx context.Context, cfg *config.Config) (err error) {
	keeper, err := s.keep(ctx, s.metrics, s.log)
	if err != nil {
		return err
	}
	// After the store is closed, so that the next daemon finds all that this one has written.
	s.closers = slices.Insert(s.closers, 0, func(context.Context) error { keeper.release(); return nil })
	s.holds, s.limits.alive = keeper.holds, keeper.alive
	if s.hooks, err = webhook.New(webhook.Options{Source: eventSource(), UserAgent: userAgent(), Log: s.log}); err != nil {
		return err
	}
	s.atClose(s.hooks.Close)
	s.metrics.Budgets(s.limits.budgets)
	claims, _ := keeper.keeper.(daemon.Claims) // replicas have none
	s.daemon = daemon.New(daemon.Options{
		Build: s.build, Work: keeper, Plans: keeper, View: keeper, Events: newEvents(s.metrics, s.hooks), Manager: notify.New(s.env), Parts: keeper.parts, Claims: claims,
		Changed: s.watch.Changed(), Log: s.log,
	})
	if r := cfg.Server.Registry; r != nil {
		if s.registry, s.registryDoor, err = newRegistry(ctx, r, nil, s.log); err != nil {
			return fmt.Errorf("server.registry: %w", err)
		}
		s.metrics.Served(s.registry.Stats)
	}
	if cfg.Server.Listen == "" {
		return nil
	}
	s.receivers = receiver.New(receiver.Options{
		Look:  looks{s.daemon, &s.sources, &s.unsigned}.look,
		Count: func(name string, outcome receiver.Outcome) { s.metrics.Event(name, string(outcome)) }, Log: s.log,
	})
	if s.door, err = web.Listen(ctx, cfg.Server.Listen); err != nil {
		return fmt.Errorf("server.listen: %w", err)
	}
	s.server = web.New(web.Options{
		Daemon: answers{s.daemon, s.store, s.limits, s.receivers, &s.azure, &s.sources, &plans{daemon: s.daemon, log: s.log}}, Details: details{s.metrics, &s.current, &s.tail, s.tags, s.store}, Metrics: s.metrics.Handler(), Events: s.receivers, Address: cfg.Server.Listen, Token: cfg.Server.Token.Reveal(), Log: s.log,
	})
	s.log.LogAttrs(ctx, slog.LevelInfo, "answering by HTTP", slog.String("target", s.door.Addr().String()))
	return nil
}

// eventSource identifies this dray in events.
func eventSource() string {
	host, err := os.Hostname()
	if err != nil {
		return "/dray"
	}
	return "/dray/" + host
}

// watchEnds is how long a stop waits for the watcher of files.
const watchEnds = 300 * time.Millisecond

// run runs the daemon and its background tasks.
func (s *service) run(ctx context.Context, stop <-chan struct{}) error {
	beside, end := context.WithCancel(ctx)
	var group sync.WaitGroup
	watched := make(chan struct{})
	go func() { defer close(watched); s.watch.Run(beside) }()
	if s.server != nil {
		group.Go(func() {
			if err := s.server.Serve(s.door); err != nil {
				s.log.LogAttrs(beside, slog.LevelError, "the HTTP server has stopped", slog.Any("err", err))
			}
		})
	}
	if s.registry != nil {
		group.Go(func() {
			if err := s.registry.Serve(s.registryDoor); err != nil {
				s.log.LogAttrs(beside, slog.LevelError, "the registry over layouts has stopped", slog.Any("err", err))
			}
		})
	}
	if s.store != nil {
		group.Go(func() { s.tidy(beside) })
	}
	err := s.daemon.Run(ctx, stop)
	if s.registry != nil {
		group.Go(func() {
			brief, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_ = s.registry.Shutdown(brief) // clients begin again with what it cuts off
		})
	}
	if s.server != nil {
		brief, cancel := context.WithTimeout(ctx, 2*time.Second)
		_ = s.server.Shutdown(brief) // remaining clients would learn nothing new
		cancel()
	}
	end()
	group.Wait()
	select {
	case <-watched:
	case <-time.After(watchEnds): // it reads from a file system that gives no answer
	}
	if err != nil {
		return &exitError{exitUsage, err}
	}
	return nil
}

// tidy prunes the store periodically.
func (s *service) tidy(ctx context.Context) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.prune(ctx); err != nil && ctx.Err() == nil {
				s.log.LogAttrs(ctx, slog.LevelWarn, "the store cannot be pruned", slog.Any("err", err))
			}
		case <-ctx.Done():
			return
		}
	}
}

// listen reloads at a signal, and ends the work that remains when the grace is over or the work is abandoned.
func (s *service) listen(ctx context.Context, hangups <-chan os.Signal, stop <-chan struct{}, kill func()) {
	var late <-chan time.Time
	for {
		select {
		case <-hangups:
			go func() { _ = s.daemon.Reload(ctx, "signal") }() // the daemon says why it is rejected
		case <-stop:
			stop = nil
			late = time.After(s.work.grace() + closing)
		case <-late:
			kill()
		case <-s.work.abandoned:
			kill()
			return
		case <-ctx.Done():
			return
		}
	}
}

// shut closes the process; for a moment it still sends waiting events, unless ctx ends.
func (s *service) shut(ctx context.Context) {
	brief, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := s.close(brief); err != nil {
		s.log.LogAttrs(brief, slog.LevelWarn, "the shutdown was incomplete", slog.Any("err", err))
	}
}

// prune deletes unused entries. Existing jobs stay.
func (s *service) prune(ctx context.Context) error {
	snapshot, err := s.daemon.Snapshot(ctx)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(snapshot.Jobs))
	for _, j := range snapshot.Jobs {
		names = append(names, j.Job)
	}
	if err := s.store.TouchJobs(ctx, names); err != nil {
		return err
	}
	return prune(ctx, s.store)
}

func prune(ctx context.Context, s *store.Store) error {
	return s.Prune(ctx, time.Now().Add(-memoryLasts), memoryBytes)
}
