package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/config"
	"github.com/draysync/dray/internal/daemon"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/metrics"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/receiver"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/registry"
	"github.com/draysync/dray/internal/schedule"
	"github.com/draysync/dray/internal/store"
	"github.com/draysync/dray/internal/web"
)

// answers implements the HTTP server's view of the daemon.
type answers struct {
	daemon *daemon.Daemon
	store  *store.Store // nil for none
	limits *limits
	events *receiver.Set
	azure  *atomic.Pointer[azureJobs]
	// sources are those of the config that runs.
	sources *atomic.Pointer[plan.Sources]
	plans   *plans
}

// details implements what the status page shows beyond the status.
type details struct {
	metrics *metrics.Metrics
	current *atomic.Pointer[current]
	log     *logTail
	tags    *tagMemory
	store   *store.Store // nil for none
}

// current is the config that runs, and what the last reload changed that changed jobs.
type current struct {
	config *config.Config
	// jobs and mappings are by name.
	jobs     map[string]*plan.Job
	mappings map[string]*config.Mapping
	// excerpts parses the config once, when it is first asked for: that takes seconds where there are very many mappings.
	excerpts func() map[config.Position]string

	// client sends the requests.
	client *registry.Client

	added, changed, removed []string
	changedAt               time.Time
}

// currentOf compares a config with the one before; nil for none.
func currentOf(cfg *config.Config, jobs []plan.Job, client *registry.Client, before *current) *current {
	r := &current{
		config: cfg, client: client, jobs: make(map[string]*plan.Job, len(jobs)), mappings: make(map[string]*config.Mapping, len(cfg.Mappings)),
		excerpts: sync.OnceValue(cfg.Excerpts),
	}
	for i := range jobs {
		r.jobs[jobs[i].Name] = &jobs[i]
	}
	for i := range cfg.Mappings {
		r.mappings[cfg.Mappings[i].Name] = &cfg.Mappings[i]
	}
	if before == nil {
		return r
	}
	for name, job := range r.jobs {
		switch was, ok := before.jobs[name]; {
		case !ok:
			r.added = append(r.added, name)
		case was.Fingerprint != job.Fingerprint:
			r.changed = append(r.changed, name)
		}
	}
	for name := range before.jobs {
		if r.jobs[name] == nil {
			r.removed = append(r.removed, name)
		}
	}
	if len(r.added)+len(r.changed)+len(r.removed) == 0 {
		r.added, r.changed, r.removed, r.changedAt = before.added, before.changed, before.removed, before.changedAt
		return r
	}
	for _, names := range [][]string{r.added, r.changed, r.removed} {
		slices.Sort(names)
	}
	r.changedAt = time.Now()
	return r
}

// nextTimes is how many times of a schedule the status page shows.
const nextTimes = 5

// Job implements web.Details.
func (d details) Job(status *record.JobStatus) (record.JobConfig, bool) {
	r := d.current.Load()
	if r == nil {
		return record.JobConfig{}, false
	}
	job, mapping := r.jobs[status.Job], r.mappings[status.Job]
	if job == nil || mapping == nil {
		return record.JobConfig{}, false
	}
	return record.JobConfig{
		Position: mapping.Pos.String(), YAML: r.excerpts()[mapping.Pos], Windows: job.Windows.String(),
		Next: schedule.Times(job.Schedule, job.Windows, job.Name, job.Jitter, time.Now(), status.Anchor, nextTimes),
	}, true
}

// Tags implements web.Details.
func (d details) Tags(ctx context.Context, job *record.JobStatus, text string, from, most int) (record.Tags, error) {
	err := d.tags.search(ctx, d.store, job)
	return d.tags.list(job.Job, text, from, most), err
}

// Log implements web.Details.
func (d details) Log(job string, begin time.Time) []record.LogLine { return d.log.since(job, begin) }

// Config implements web.Details.
func (d details) Config() record.ConfigFiles {
	r := d.current.Load()
	if r == nil {
		return record.ConfigFiles{}
	}
	return record.ConfigFiles{Path: r.config.Path, Files: r.config.Files, Added: r.added, Changed: r.changed, Removed: r.removed, ChangedAt: r.changedAt}
}

// Registries implements web.Details.
func (d details) Registries() []record.RegistryUse {
	all := d.metrics.Registries()
	if r := d.current.Load(); r != nil {
		for i := range all {
			all[i].Accounts = r.client.Accounts(all[i].Registry)
		}
	}
	return all
}

// Status implements web.Daemon.
func (a answers) Status(ctx context.Context) (record.Snapshot, error) {
	s, err := a.daemon.Snapshot(ctx)
	if err != nil {
		return record.Snapshot{}, unavailable(err)
	}
	s.Dray, s.Budgets, s.Receivers = buildVersion().Version, a.limits.budgets(), a.events.Status()
	for _, c := range a.azure.Load().closed() {
		s.Closed = append(s.Closed, record.ClosedRegistry{Registry: c.Registry, Repositories: c.Repositories, Reason: record.Text(c.Reason)})
	}
	return s, nil
}

// History implements web.Daemon.
func (a answers) History(ctx context.Context, job string, limit int) ([]record.JobRun, error) {
	if a.store == nil {
		return nil, fmt.Errorf("without a store there is no history: %w", web.ErrUnavailable)
	}
	return a.store.History(ctx, store.HistoryQuery{Job: job, Limit: limit})
}

// Sync implements web.Daemon.
func (a answers) Sync(ctx context.Context, job string, tags []string) (asked time.Time, found bool, err error) {
	asked = a.daemon.Now()
	if len(tags) == 0 {
		found, err = a.daemon.Trigger(ctx, job)
		return asked, found, unavailable(err)
	}
	paused, err := a.paused(ctx, job)
	if err == nil && paused {
		err = fmt.Errorf("%w: %q is paused: resume it, or ask for all its tags, which runs it once in spite of the pause", web.ErrUnchosen, job)
	}
	if err == nil {
		found, err = a.look(ctx, job, tags)
	}
	return asked, found, unavailable(err)
}

// paused reports whether a job is paused.
func (a answers) paused(ctx context.Context, job string) (bool, error) {
	s, err := a.daemon.Snapshot(ctx)
	return slices.ContainsFunc(s.Jobs, func(j record.JobStatus) bool { return j.Job == job && j.Paused != nil }), err
}

// look has a job look at tags that it chooses.
func (a answers) look(ctx context.Context, job string, tags []string) (found bool, err error) {
	refs := make([]image.Reference, 0, len(tags))
	for _, tag := range tags {
		ref, found, err := a.sources.Load().Named(job, tag)
		switch {
		case err != nil:
			return found, fmt.Errorf("%w: %w", web.ErrUnchosen, err)
		case !found:
			return false, nil
		}
		refs = append(refs, ref)
	}
	return true, a.daemon.Look(ctx, map[string][]image.Reference{job: refs})
}

// Pause implements web.Daemon.
func (a answers) Pause(ctx context.Context, job string, pause record.Pause) (found bool, err error) {
	found, err = a.daemon.Pause(ctx, job, pause)
	return found, unavailable(err)
}

// Resume implements web.Daemon.
func (a answers) Resume(ctx context.Context, job, by string) (found bool, err error) {
	found, err = a.daemon.Resume(ctx, job, by)
	return found, unavailable(err)
}

// Reload implements web.Daemon.
func (a answers) Reload(ctx context.Context) error { return unavailable(a.daemon.Reload(ctx, "http")) }

// nothingMoves is how long runs may make no progress before the daemon is not ready.
const nothingMoves = 5 * time.Minute

// Ready implements web.Daemon.
func (a answers) Ready(ctx context.Context) error {
	s, err := a.daemon.Snapshot(ctx)
	switch {
	case err != nil:
		err = fmt.Errorf("the daemon: %w", err)
	case s.Stopping:
		err = daemon.ErrStopping
	case len(s.Config.Rejected) > 0 && !s.Config.Partly: // a file of one must not take the receivers of all out of service
		err = fmt.Errorf("the config is rejected: %s", strings.Join(s.Config.Rejected, "\n"))
	case !s.Moved.IsZero() && s.Now.Sub(s.Moved) > nothingMoves:
		err = fmt.Errorf("nothing has moved for %s: all %d jobs under way wait for their registries", s.Now.Sub(s.Moved).Round(time.Second), s.Totals.Running)
	}
	if err == nil && s.Ledger != nil && !s.Ledger.Reachable {
		return fmt.Errorf("the ledger cannot be reached since %s", s.Ledger.Since.UTC().Format(time.RFC3339))
	}
	if a.store == nil {
		return errors.Join(err, errors.New("no store: dray continues without a memory"))
	}
	if broken := a.store.Writable(ctx); broken != nil {
		err = errors.Join(err, fmt.Errorf("the store: %w", broken))
	}
	return err
}

// Alive implements web.Daemon.
func (a answers) Alive(ctx context.Context) error { return a.daemon.Alive(ctx) }

// unavailable marks an error that is not the client's fault.
func unavailable(err error) error {
	if errors.Is(err, daemon.ErrStopping) {
		return fmt.Errorf("%w: %w", web.ErrUnavailable, err)
	}
	return err
}
