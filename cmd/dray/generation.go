package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/draysync/dray/internal/acr"
	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/transfer"
	"github.com/draysync/dray/internal/watch"
	"github.com/draysync/dray/internal/webhook"
)

// builder makes the generations of a daemon. Its build is never called twice at once.
type builder struct {
	*app
	store   *store.Store // nil where there is none
	metrics *metrics.Metrics
	limits  *limits
	watch   *watch.Watcher
	hooks   *webhook.Sender
	level   *slog.LevelVar
	log     *slog.Logger
	// setToken replaces what guards the server; nil where there is none.
	setToken func(token string)
	// fixed is what cannot change while the process runs.
	fixed []fixed
	// started is the config that the process was started with, and its jobs, until they are taken.
	started *reading
	// links is what the generation that runs talks through.
	links *links
	// azure is its side of Azure, for whoever asks.
	azure atomic.Pointer[azureSide]
}

// reading is a config with its jobs.
type reading struct {
	config *config.Config
	jobs   []plan.Job
}

// fixed is a key of the config that takes effect only at a start.
type fixed struct{ key, value string }

func fixedOf(cfg *config.Config) []fixed {
	return []fixed{{"stateDir", cfg.StateDir}, {"server.listen", cfg.Server.Listen}, {"log.format", cfg.Log.Format}}
}

// build reads the config, and makes a generation of it.
func (b *builder) build(context.Context) (daemon.Generation, error) {
	cfg, jobs, err := b.read()
	if cfg != nil { // also where it is rejected: what it names may be what has to change
		b.watch.SetFiles(append(auth.Files(b.env), cfg.Files...))
	}
	if err != nil {
		return daemon.Generation{}, err
	}
	links, err := b.link(cfg)
	if err != nil {
		return daemon.Generation{}, err
	}
	neighbours := neighboursOf(jobs)
	g := daemon.Generation{
		Parallel: cfg.Jobs, Grace: cfg.ShutdownGrace,
		Run: func(ctx context.Context, name string, draining <-chan struct{}, watcher mirror.Watcher) mirror.Result {
			m := links.mirror()
			m.Watcher, m.Draining, m.Log = b.work.follow(watcher), draining, b.log
			what := fmt.Sprintf("the mapping %q", name)
			b.work.begin(what)
			defer b.work.end(what)
			job, others := neighbours.of(name)
			return m.SyncOne(ctx, job, others)
		},
		Take: func() {
			b.links = links
			b.azure.Store(links.side)
			b.limits.follow(cfg, links.client)
			b.take(cfg)
			if text := unscheduled(jobs); text != "" {
				// Aside, as a log that nobody reads must not keep the daemon from its start.
				go b.log.LogAttrs(context.Background(), slog.LevelInfo, "not every mapping has a schedule", slog.String("reason", text))
			}
		},
		Close: links.release,
	}
	for _, j := range jobs {
		g.Jobs = append(g.Jobs, daemon.Job{
			Name: j.Name, Source: j.Source.String(), Fingerprint: j.Fingerprint, Schedule: j.Schedule, Jitter: j.Jitter, Priority: j.Priority,
			Registries: registriesOf(j),
		})
	}
	return g, nil
}

// registriesOf names the registries between which a job runs.
func registriesOf(j plan.Job) string {
	names := []string{j.Source.Registry}
	for _, target := range j.Targets {
		names = append(names, target.Registry)
	}
	slices.Sort(names[1:])
	return strings.Join(slices.Compact(names), " ")
}

// read reads the config; the first time it is what the process was started with, which has just been read.
func (b *builder) read() (*config.Config, []plan.Job, error) {
	if first := b.started; first != nil {
		b.started = nil
		return first.config, first.jobs, nil
	}
	return b.load(b.watch.ReadFile)
}

// take makes the rest of the process follow the config that runs now.
func (b *builder) take(cfg *config.Config) {
	b.level.Set(b.app.level(cfg.Log))
	b.work.allow(cfg.ShutdownGrace)
	if b.setToken != nil {
		b.setToken(cfg.Server.Token.Reveal())
	}
	_ = b.hooks.Reconfigure(hooksOf(cfg)) // config has checked them
	for i, now := range fixedOf(cfg) {
		if was := b.fixed[i].value; was != now.value {
			b.log.LogAttrs(context.Background(), slog.LevelWarn, "a key of the config takes effect only when dray is started anew",
				slog.String("key", now.key), slog.String("was", was))
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

// neighbours knows for each job which others may write to the same repositories.
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

// links are the connections to registries, with what is known of them: generations share them as long as nothing about the
// registries changes.
type links struct {
	reach       reach
	credentials *auth.Store
	files       string // a digest of the certificates
	side        *azureSide
	azure       string // what of the config its side of Azure is made of
	client      *registry.Client
	engine      func() *transfer.Engine
	engines     func(*transfer.Engine) *acr.Chooser

	mu      sync.Mutex
	users   int // generations
	current *transfer.Engine
	chooser *acr.Chooser
}

// engineLasts bounds what an engine has learned of blobs before a new one takes its place. What both know is in the store.
const engineLasts = 20_000

// mirror returns a mirror that lacks what is a run's own.
func (l *links) mirror() *mirror.Mirror {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil || l.current.Size() > engineLasts {
		l.current = l.engine()
		l.chooser = l.engines(l.current)
	}
	return &mirror.Mirror{Observer: l.client, Engine: l.chooser, Choose: l.chooser.Choose, Look: l.chooser.Look, Closed: l.chooser.Closed, Pinned: l.chooser.Pinned, Manifest: l.chooser.Manifest}
}

// release gives the links back; the last user closes them.
func (l *links) release() {
	l.mu.Lock()
	l.users--
	last := l.users == 0
	l.mu.Unlock()
	if last {
		_ = l.client.Close() // idle connections only
	}
}

// link returns links for a config, those that there are where they do. They have one user more.
func (b *builder) link(cfg *config.Config) (*links, error) {
	credentials, err := auth.Load(b.env)
	if err != nil {
		return nil, err
	}
	l := &links{reach: reachOf(cfg.Registries), credentials: credentials, files: b.certificates(cfg), azure: azureKey(cfg), users: 1}
	if old := b.links; old != nil && old.files == l.files && old.azure == l.azure && reflect.DeepEqual(old.reach, l.reach) && reflect.DeepEqual(old.credentials, credentials) {
		old.mu.Lock()
		defer old.mu.Unlock()
		old.users++
		return old, nil
	}
	side, err := newAzure(cfg, nil, b.log)
	l.side = side
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Path, err)
	}
	l.client, err = registry.New(registry.Options{
		Hosts: l.reach.hosts, Mirrors: l.reach.mirrors, Keychain: l.reach.keychain(credentials, side), UserAgent: userAgent(), Log: b.log,
		Wrap: func(name string, next http.RoundTripper) http.RoundTripper {
			return b.limits.wrap(name, b.metrics.Transport(name, b.work.transport(next)))
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Path, err)
	}
	l.engine = func() *transfer.Engine { return newEngine(l.client, b.store, b.limits, b.log) }
	l.engines = func(copying *transfer.Engine) *acr.Chooser {
		return side.engine(l.client, credentials, b.store, b.limits, copying, b.log)
	}
	return l, nil
}

// certificates is a digest of the files that registries' TLS settings name.
func (b *builder) certificates(cfg *config.Config) string {
	sum := sha256.New()
	content := json.NewEncoder(sum)
	for _, key := range slices.Sorted(maps.Keys(cfg.Registries)) {
		tls := cfg.Registries[key].TLS
		for _, name := range []string{tls.CAFile, tls.CertFile, tls.KeyFile} {
			if name == "" {
				continue
			}
			data, err := b.watch.ReadFile(name)
			_ = content.Encode([]string{key, name, string(data), errorText(err)}) // to a hash
		}
	}
	return string(sum.Sum(nil))
}

// budgets are what metrics show.
func (b *builder) budgets() []metrics.Budget {
	var list []metrics.Budget
	for _, one := range b.limits.budgets() {
		list = append(list, metrics.Budget{
			Registry: one.Registry, Account: one.Account, Limit: one.Limit, Remaining: one.Remaining, Reserved: one.Reserved,
		})
	}
	return list
}
