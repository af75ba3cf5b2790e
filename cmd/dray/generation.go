package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/webhook"
)

// reading is a config with its jobs.
type reading struct {
	config *config.Config
	jobs   []plan.Job
	// rejected has the mistakes of files that stay as they were.
	rejected error
}

// fixed is a key of the config that takes effect only at a start.
type fixed struct {
	key, value string
	// secret says that the value must not be shown; one that is not set may be.
	secret bool
}

// shown is the value, if it may be shown.
func (f fixed) shown() string {
	if f.secret {
		return "a secret"
	}
	return f.value
}

func fixedOf(cfg *config.Config) []fixed {
	c := cfg.Cluster
	return []fixed{
		{"stateDir", cfg.StateDir, false}, {"server.listen", cfg.Server.Listen, false}, {"server.registry", servedText(cfg.Server.Registry), false}, {"log.format", cfg.Log.Format, false},
		{"cluster.ledger", c.Ledger.Reveal(), c.Ledger != ""}, {"cluster.name", c.Name, false}, {"cluster.lease", c.Lease.String(), false},
	}
}

// servedText describes a registry over layouts; empty for none.
func servedText(s *config.Served) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%+v", *s)
}

// build reads the config, and builds a generation from it.
func (s *service) build(context.Context) (daemon.Generation, error) {
	now, err := s.read()
	cfg, jobs := now.config, now.jobs
	// Even if it is rejected: the fix may be in a file that it names.
	s.watch.SetFiles(append(auth.Files(s.env), cfg.Files...), cfg.Globs...)
	if err != nil {
		return daemon.Generation{}, err
	}
	built, err := s.process.build(cfg, jobs)
	if err != nil {
		return daemon.Generation{}, err
	}
	neighbours := neighboursOf(jobs)
	g := daemon.Generation{
		Rejected: now.rejected, Jobs: jobsOf(jobs, built.client.Account),
		Parallel: cfg.Jobs, Grace: cfg.ShutdownGrace,
		Run: func(ctx context.Context, name string, some []string, draining <-chan struct{}, watcher mirror.Watcher, crew mirror.Crew) mirror.Result {
			m := built.mirror(s.tags.follow(name, watcher))
			m.Draining, m.CountKept, m.Crew = draining, true, crew
			what := fmt.Sprintf("the mapping %q", name)
			s.work.begin(what)
			defer s.work.end(what)
			job, others := neighbours.of(name)
			if some != nil {
				return m.SyncSome(ctx, job, others, references(some))
			}
			return m.SyncOne(ctx, job, others)
		},
		Plan: func(ctx context.Context, name string, watcher mirror.Watcher) mirror.Result {
			m := built.mirror(watcher)
			m.CountKept = true
			job, _ := neighbours.of(name)
			return m.Plan(ctx, []plan.Job{job})[0]
		},
		Approved: func(ctx context.Context, name string, imports []diff.Action, draining <-chan struct{}, watcher mirror.Watcher) mirror.Result {
			m := built.mirror(s.tags.follow(name, watcher))
			m.Draining = draining
			what := fmt.Sprintf("the mapping %q", name)
			s.work.begin(what)
			defer s.work.end(what)
			job, others := neighbours.of(name)
			return m.SyncOneApproved(ctx, job, others, imports)
		},
		Assist: func(ctx context.Context, name string, imports []mirror.Import, again bool, draining <-chan struct{}, watcher mirror.Watcher, ended func()) []mirror.Outcome {
			m := built.mirror(watcher)
			m.Draining = draining
			job, _ := neighbours.of(name)
			return m.Assist(ctx, job, imports, again, ended)
		},
		Take: func() {
			built.take()
			s.reader.Accept()
			s.azure.Store(&azureJobs{built.clouds.azure, jobs})
			s.sources.Store(new(plan.SourcesOf(jobs)))
			now := currentOf(cfg, jobs, built.client, s.current.Load())
			s.current.Store(now)
			s.tags.keep(func(job string) bool { return now.jobs[job] != nil })
			s.take(cfg)
			if texts := unclear(cfg); len(texts) > 0 {
				go s.log.LogAttrs(context.Background(), slog.LevelWarn, "files name what may be images", slog.String("reason", strings.Join(texts, "; ")))
			}
			if text := unscheduled(jobs); text != "" {
				// In the background, since a blocked log must not delay the daemon's start.
				go s.log.LogAttrs(context.Background(), slog.LevelInfo, "not every mapping has a schedule", slog.String("reason", text))
			}
		},
		Close: built.release,
	}
	return g, nil
}

// jobsOf returns the jobs of a config as the daemon knows them; account names the account at a repository.
func jobsOf(jobs []plan.Job, account func(image.Repository) string) (all []daemon.Job) {
	for _, j := range jobs {
		all = append(all, daemon.Job{
			Name: j.Name, Source: j.SourceText(), Accounts: accountsOf(j, account), Targets: namesOf(j.Targets), Fingerprint: j.Fingerprint, Schedule: j.Schedule, Jitter: j.Jitter,
			Windows: j.Windows, CutAtEnd: j.CutAtEnd, Priority: j.Priority,
			Registries: registriesOf(j),
		})
	}
	return all
}

// accountsOf returns the accounts at a job's sources, sorted. Of repositories that a pattern selects it knows those of their common prefix.
func accountsOf(j plan.Job, account func(image.Repository) string) (names []string) {
	for _, source := range j.Sources() {
		names = append(names, account(source.Repository))
	}
	for _, name := range j.Repositories {
		names = append(names, account(j.Source.Repository.Join(name)))
	}
	slices.Sort(names)
	return slices.Clip(slices.Compact(names))
}

func namesOf(refs []image.Reference) []string {
	names := make([]string, 0, len(refs))
	for _, ref := range refs {
		names = append(names, ref.String())
	}
	return names
}

// registriesOf returns the source and target registries of a job.
func registriesOf(j plan.Job) string {
	var sources, targets []string
	for _, source := range j.Sources() {
		sources = append(sources, source.Registry)
	}
	for _, target := range j.Targets {
		targets = append(targets, target.Registry)
	}
	slices.Sort(sources)
	slices.Sort(targets)
	return strings.Join(slices.Compact(append(slices.Compact(sources), targets...)), " ")
}

// read reads the config. The first time it returns the one that the process has just read at its start.
func (s *service) read() (r reading, err error) {
	if first := s.started; first != nil {
		s.started = nil
		return *first, nil
	}
	r.config, r.rejected, err = s.reader.Read()
	r.jobs = s.jobs
	return r, err
}

// take applies the running config to the rest of the process.
func (s *service) take(cfg *config.Config) {
	s.level.Set(s.app.level(cfg.Log))
	s.work.allow(cfg.ShutdownGrace)
	if s.server != nil {
		s.server.SetToken(cfg.Server.Token.Reveal())
		s.receivers.Replace(receiversOf(cfg))
	} else if len(cfg.Receivers) > 0 {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "no events are accepted", slog.String("reason", "server.listen is empty"))
	}
	_ = s.hooks.Reconfigure(hooksOf(cfg)) // config has checked them
	for i, now := range fixedOf(cfg) {
		if was := s.fixed[i]; was.value != now.value {
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "a key of the config takes effect only when dray is restarted",
				slog.String("key", now.key), slog.String("was", was.shown()))
		}
	}
}

func hooksOf(cfg *config.Config) []webhook.Hook {
	hooks := make([]webhook.Hook, 0, len(cfg.Notifications))
	for _, n := range cfg.Notifications {
		h := webhook.Hook{URL: n.URL.Reveal(), Secret: n.Secret.Reveal(), Template: n.Template}
		for _, kind := range n.On {
			h.On = append(h.On, webhook.Kind(kind))
		}
		hooks = append(hooks, h)
	}
	return hooks
}

// neighbours has for each job the others that may write to the same repositories.
type neighbours struct {
	jobs   []plan.Job
	groups [][]int
	place  map[string]place
}

type place struct{ job, group int }

func neighboursOf(jobs []plan.Job) neighbours {
	n := neighbours{jobs: jobs, groups: plan.Groups(jobs), place: make(map[string]place, len(jobs))}
	for g, members := range n.groups {
		for _, i := range members {
			n.place[jobs[i].Name] = place{i, g}
		}
	}
	return n
}

func (n neighbours) of(name string) (job plan.Job, others []plan.Job) {
	at := n.place[name]
	for _, i := range n.groups[at.group] {
		if i != at.job {
			others = append(others, n.jobs[i])
		}
	}
	return n.jobs[at.job], others
}
