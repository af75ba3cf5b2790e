package main

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/ratelimit"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/store"
)

// limits keep requests within the registries' limits. They live as long as the process, across generations.
type limits struct {
	governor *ratelimit.Governor
	rules    atomic.Pointer[map[string]ratelimit.Rule]
	client   atomic.Pointer[registry.Client]
	saved    func(by string) // nil for none
	// alive returns how many processes share the limits; nil for one.
	alive func() int

	// all limits the blobs of all registries, and each those of one.
	all   registry.Bandwidth
	mu    sync.Mutex
	rates map[string]int64
	each  map[string]*registry.Bandwidth
}

// newLimits returns the limits. patience is how long a pull waits for the memory, zero for as long as usual; pulled is called for each pull that counted, saved for each one avoided; nil for none.
func newLimits(memory *store.Store, patience time.Duration, pulled func(registry, account string), saved func(by string), log *slog.Logger) *limits {
	l := &limits{saved: saved, each: map[string]*registry.Bandwidth{}}
	l.all.Common()
	options := ratelimit.Options{Rule: l.rule, Account: l.account, SignsIn: l.signsIn, Patience: patience, Pulled: pulled, Log: log}
	if memory != nil {
		options.Store = memory
	}
	l.governor = ratelimit.New(options)
	return l
}

// follow applies the limits of a config. Its client knows the account of each repository.
func (l *limits) follow(cfg *config.Config, client *registry.Client) {
	rules := map[string]ratelimit.Rule{}
	for key, r := range cfg.Registries {
		if strings.Contains(key, "/") {
			continue
		}
		limit := r.RateLimit
		known := ratelimit.Known(key)
		rules[key] = ratelimit.Rule{
			Metered: known.Metered || limit.PullsPerWindow > 0, Keep: limit.Keep, KeepPercent: limit.KeepPercent,
			Limit: limit.PullsPerWindow, Window: limit.Window, PerSecond: cmp.Or(limit.RequestsPerSecond, known.PerSecond),
		}
	}
	l.rules.Store(&rules)
	l.throttle(cfg)
	l.client.Store(client)
}

// throttle applies the bandwidths of a config.
func (l *limits) throttle(cfg *config.Config) {
	l.all.Set(cfg.Bandwidth)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rates = map[string]int64{}
	for key, r := range cfg.Registries {
		l.rates[key] = r.Bandwidth
	}
	for name, one := range l.each {
		one.Set(l.rates[name])
	}
}

// bandwidth returns what limits the blobs of a registry.
func (l *limits) bandwidth(name string) []*registry.Bandwidth {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.each[name]
	if !ok {
		one = &registry.Bandwidth{}
		one.Set(l.rates[name])
		l.each[name] = one
	}
	return []*registry.Bandwidth{&l.all, one}
}

func (l *limits) rule(name string) ratelimit.Rule {
	rule := ratelimit.Known(name)
	if rules := l.rules.Load(); rules != nil {
		if own, ok := (*rules)[name]; ok {
			rule = own
		}
	}
	rule.Sharers = l.sharers()
	return rule
}

// sharers returns how many processes share the limits, at least one.
func (l *limits) sharers() int {
	if l.alive == nil {
		return 1
	}
	return l.alive()
}

func (l *limits) account(name, repository string) string {
	if client := l.client.Load(); client != nil {
		return client.Account(image.Repository{Registry: name, Path: repository})
	}
	return name
}

func (l *limits) signsIn(name, repository string) bool {
	client := l.client.Load()
	return client != nil && client.SignsIn(image.Repository{Registry: name, Path: repository})
}

// spared records a manifest that was cached or came from a mirror.
func (l *limits) spared(name, by string) {
	if l.saved != nil && l.governor.Metered(name) {
		l.saved(by)
	}
}

// reserve keeps pulls for an import.
func (l *limits) reserve(ctx context.Context, repo image.Repository, pulls int, begun bool) (of context.Context, adjust func(pulls int)) {
	return l.governor.Reserve(ctx, repo.Registry, repo.Path, pulls, begun)
}

// wrap returns a registry with the limits applied.
func (l *limits) wrap(name string, next http.RoundTripper) http.RoundTripper {
	return l.governor.Transport(name, next)
}

// budgets returns the known budgets, sorted.
func (l *limits) budgets() []record.Budget {
	list := slices.DeleteFunc(l.governor.Budgets(time.Now()), func(b record.Budget) bool { return b.Limit < 0 })
	slices.SortFunc(list, func(a, b record.Budget) int {
		return strings.Compare(a.Registry+" "+a.Account, b.Registry+" "+b.Account)
	})
	return list
}

// remembered returns the budgets of a generation's sources, as known now or saved earlier.
func (l *limits) remembered(g *generation) []record.Budget {
	if g.store == nil {
		return nil
	}
	for _, j := range g.jobs {
		for _, source := range j.Sources() {
			if l.governor.Metered(source.Registry) {
				l.governor.Recall(source.Registry, source.Path)
			}
		}
	}
	return l.budgets()
}

// probe asks the registry for an account's limit, by a request that costs no pull.
func (l *limits) probe(ctx context.Context, client *registry.Client, account string) (record.Budget, bool) {
	if account != image.DockerHub && !strings.HasPrefix(account, image.DockerHub+"/") {
		return record.Budget{}, false
	}
	// Docker's own repository for this: https://docs.docker.com/docker-hub/usage/pulls/.
	repo := image.Repository{Registry: image.DockerHub, Path: "ratelimitpreview/test"}
	if _, err := client.Head(ctx, repo.Tag("latest")); err != nil {
		return record.Budget{}, false
	}
	for _, b := range l.budgets() {
		if b.Registry == image.DockerHub && b.Account == account {
			return b, true
		}
	}
	return record.Budget{}, false
}
