package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/signature"
)

// Observer asks registries what they have. Its errors wrap [image.ErrAbsent] only if the registry said so.
type Observer interface {
	// Tags returns the tags of a repository for which keep returns true. keep may be called for one tag several times.
	Tags(ctx context.Context, repo image.Repository, keep func(tag string) bool) ([]string, error)
	// Head resolves a tag or a digest, without fetching the manifest if the registry allows that.
	Head(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	// Held is Head at a target. Its error wraps [image.ErrHidden] if the registry does not say whether it is there.
	Held(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	// Catalog returns the paths of the repositories below prefix for which keep returns true.
	Catalog(ctx context.Context, prefix image.Repository, keep func(path string) bool) ([]string, error)
}

// Pager lists tags page by page.
type Pager interface {
	// TagPages is Tags of an [Observer], but calls each with the tags of every page as soon as that has been read. A tag may come twice.
	TagPages(ctx context.Context, repo image.Repository, keep func(tag string) bool, each func(tags []string)) error
}

// Manifests resolves and fetches manifests of sources.
type Manifests interface {
	// Resolve returns the digest that a target will hold after an import of offered with these platforms, or a *RefusedError if it cannot
	// be imported.
	Resolve(ctx context.Context, source image.Reference, offered image.Descriptor, platforms []image.Platform) (image.Digest, error)
	// Resolved returns what Resolve has returned for a digest, and false if that takes a request.
	Resolved(ctx context.Context, offered image.Digest, platforms []image.Platform) (image.Digest, bool)
	// Manifest fetches a manifest by its digest, and remembers it.
	Manifest(ctx context.Context, ref image.Reference) (image.Manifest, error)
	// Given returns an error unless the source gives the manifest that it named.
	Given(ctx context.Context, source image.Reference) error
}

// Mirror runs jobs. All fields but Pages, Listings, Crew, CountKept and Draining are required; they are not changed after the first run.
type Mirror struct {
	Observer Observer
	// Pages let imports begin while a list is still being read; nil to read lists as a whole.
	Pages Pager
	// Listings save requests; nil to ask for each tag.
	Listings  Listings
	Manifests Manifests
	// Engines are asked in this order whether they can make an import. The last one makes what no other can.
	Engines []Engine
	Watcher Watcher
	// Signatures is where signatures are read; needed by jobs with policies.
	Signatures signature.Source
	// Crew shares imports with other processes; nil for none.
	Crew Crew
	// Unsigned is told which tags wait for a signature of their images; nil remembers nothing.
	Unsigned *Unsigned
	Log      *slog.Logger
	// CountKept has results only count the tags that are kept and of which there is nothing else to tell, so that a million of them take no memory.
	CountKept bool
	// Draining is closed when nothing new may begin: what is under way continues, the rest is deferred with ErrStopping. nil is never
	// closed.
	Draining <-chan struct{}

	// nameless is what was logged of repositories, so that each run does not repeat it.
	nameless sync.Map
	// claims are what a job has listed that decided without knowing what another may write, by its name.
	claims sync.Map
}

// Limits of concurrent work. They only limit memory: the number of requests at one registry is limited per registry, below the Observer and
// the Importer.
const (
	// patience is how long a job waits until others have listed what they write, and until those of higher priority are observed.
	patience     = 10 * time.Second
	observedJobs = 256
	observedTags = 12
	// observedBetween is how many tags are looked at together between the same registries, by all jobs: more than these take requests at once.
	observedBetween = 256
	importsPerQueue = 16
	// tagsOfBatch is how many tags of a job are observed, decided and imported together, and batchesAtOnce how many such batches are under way.
	tagsOfBatch   = 1000
	batchesAtOnce = 2
	// importsIntoOne is the initial number of imports into one target, shared by its queues, each of which begins at least leastImports.
	importsIntoOne = 32
	leastImports   = 2
	// bytesAnImport is how many bytes move until a queue begins one more import.
	bytesAnImport = 4 << 20
	// maxNames limits the bytes of the names of tags and repositories that one job may select; nameCost is the overhead of each.
	maxNames = 64 << 20
	nameCost = 16
)

// Plan returns what Sync would do and cost, and changes nothing. The results are in the order of the jobs.
func (m *Mirror) Plan(ctx context.Context, jobs []plan.Job) []Result {
	return m.inGroups(ctx, jobs, newRun, func(p *batch, queues *queues) {
		m.Watcher.Planned(p.pending())
		queues.each(p, (*Outcome).pending, func(i int, _ func(int64)) {
			out := &p.outcomes[i]
			ctx := shared(ctx, out)
			started := time.Now()
			err := m.measure(ctx, p, i)
			if m.reconsider(ctx, p, out, err) {
				err = nil
				if out.Op == diff.Import {
					err = m.measure(ctx, p, i)
				}
			}
			if err != nil {
				m.settleError(out, needed(out.Action, At(Source, out.Source, err)))
			}
			out.Duration = time.Since(started)
		})
	}, func(*run) {})
}

// measure determines what one import would cost.
func (m *Mirror) measure(ctx context.Context, p *batch, i int) error {
	out, order := &p.outcomes[i], p.order(i)
	engine := m.choose(ctx, order)
	out.Engine, out.EngineReason = engine.Name(), engine.reason
	looking, enough := within(ctx, p.job.Timeout)
	err := m.verify(looking, p.run, order)
	enough()
	if err == nil {
		out.Cost, err = engine.Measure(ctx, order)
	}
	return err //nolint:wrapcheck // the caller says of what it is
}

// Sync observes, imports what changed, and returns how each action ended, in the order of the jobs. It never fails as a whole: the results
// say what went wrong.
func (m *Mirror) Sync(ctx context.Context, jobs []plan.Job) []Result {
	return m.inGroups(ctx, jobs, newRun, func(p *batch, queues *queues) { m.bring(ctx, p, queues) }, m.report)
}

// SyncOne is Sync for one of several jobs. It refuses to write what another of the jobs would also write, as if they ran together; for that
// it lists the others' tags if their names are not known. A job that cannot list its tags now cannot write any either, and is ignored.
func (m *Mirror) SyncOne(ctx context.Context, job plan.Job, others []plan.Job) Result {
	return m.syncOne(ctx, newRun(job), others)
}

func (m *Mirror) syncOne(ctx context.Context, r *run, others []plan.Job) Result {
	listing, listed := context.WithCancel(ctx)
	defer listed()
	r.others = m.rivals(listing, others)
	queues := newQueues()
	observing := make(chan struct{}, 1)
	observing <- struct{}{}
	m.takeLeft(ctx, r)
	m.work(ctx, r, observing, queues, func(p *batch) { m.bring(ctx, p, queues) })
	m.report(r)
	return r.result
}

// bring makes the imports of an observed batch.
func (m *Mirror) bring(ctx context.Context, p *batch, queues *queues) {
	m.Watcher.Planned(p.pending())
	m.share(ctx, p, queues)
	queues.each(p, (*Outcome).pending, func(i int, moved func(int64)) { m.importOne(ctx, p, i, false, moved) })
	m.refresh(ctx, p, queues)
	m.reportBatch(p)
}

// inGroups observes the jobs, calls bring for each batch of them, and end for each job. Jobs that may write one repository wait until the others
// have listed what they write, but not longer than patience, so that a registry that does not answer delays no one else for long.
func (m *Mirror) inGroups(ctx context.Context, jobs []plan.Job, runOf func(plan.Job) *run, bring func(*batch, *queues), end func(*run)) []Result {
	all := make([]Result, len(jobs))
	queues := newQueues(jobs...)
	timer := time.AfterFunc(patience, queues.hurry)
	defer timer.Stop()
	lots := map[string]*between{}
	for _, members := range plan.Groups(jobs) {
		runs := make([]*run, 0, len(members))
		for _, i := range members {
			runs = append(runs, runOf(jobs[i]))
		}
		for k, i := range members {
			l := betweenOf(lots, jobs[i])
			runs[k].others, runs[k].looks = slices.Concat(runs[:k], runs[k+1:]), l.looks
			l.runs = append(l.runs, func() {
				runs[k].result.Started = time.Now()
				m.work(ctx, runs[k], l.observing, queues, func(p *batch) { bring(p, queues) })
				end(runs[k])
				all[i] = runs[k].result
			})
		}
	}
	var group sync.WaitGroup
	for _, l := range lots {
		group.Go(func() { l.begin(&group) })
	}
	group.Wait()
	return all
}

// between has the runs between the same registries. Their limits are their own, so that a registry which hangs leaves room for the others.
type between struct {
	// observing has room for jobs that are observed, looks for tags that are looked at.
	observing, looks chan struct{}
	runs             []func()
}

// betweenOf returns that of a job.
func betweenOf(lots map[string]*between, job plan.Job) *between {
	key := strings.Join(sourceRegistries(job), " ")
	for _, target := range job.Targets {
		key += " " + target.Registry
	}
	l := lots[key]
	if l == nil {
		l = &between{observing: make(chan struct{}, observedJobs), looks: make(chan struct{}, observedBetween)}
		lots[key] = l
	}
	return l
}

// begin begins the runs in their order, each with a slot and not before, since there may be ten thousand.
func (l *between) begin(group *sync.WaitGroup) {
	for i, run := range l.runs {
		l.observing <- struct{}{}
		l.runs[i] = nil
		group.Go(run)
	}
}

// refresh has the engine look for new attachments of unchanged images.
func (m *Mirror) refresh(ctx context.Context, r *batch, queues *queues) {
	wanted := func(out *Outcome) bool {
		return out.Status == record.Kept && out.Reason != diff.Immutable && !r.job.Referrers.None()
	}
	queues.each(r, wanted, func(i int, moved func(int64)) {
		if m.stopping() {
			return // the next run looks
		}
		out := &r.outcomes[i]
		ctx := shared(ctx, out)
		order := r.order(i)
		order.HeldAs = order.Target.Tag
		engine := m.choose(ctx, order)
		meter := onDemand{sync.OnceValue(func() Meter {
			m.Watcher.Planned(1)
			return counted{m.Watcher.Begin(out.Action), moved}
		})}
		receipt, err := m.tries(ctx, r.run, order, func(ctx context.Context) (Receipt, error) {
			cost, err := engine.Refresh(ctx, order, meter)
			if err != nil && cost == (Cost{}) {
				err = looked{err}
			}
			return Receipt{Cost: cost}, err
		})
		out.Cost = receipt.Cost
		if err != nil || out.Cost != (Cost{}) {
			out.Engine = engine.Name()
		}
		if err == nil {
			return
		}
		if m.settleError(out, err); out.Op != diff.Keep { // it was refused
			m.logOutcome(out)
			m.Watcher.End(*out)
		}
	})
}

// reportBatch settles what was neither imported nor refused by an engine.
func (m *Mirror) reportBatch(p *batch) {
	for i := range p.outcomes {
		out := &p.outcomes[i]
		if out.Op != diff.Keep && out.Engine != "" {
			continue // settled by then
		}
		if out.Status != record.Kept {
			m.logOutcome(out)
		}
		m.Watcher.End(*out)
	}
}

// report logs the job's line, and why what of it has failed.
func (m *Mirror) report(r *run) {
	job, duration := slog.String("job", r.job.Name), slog.Duration("duration", r.result.Duration)
	for _, c := range Causes(Result{Job: r.job.Name, Outcomes: r.result.Outcomes}) {
		m.Log.LogAttrs(context.Background(), slog.LevelError, "failed", job, slog.String("target", strings.Join(c.References, ", ")), slog.String("err", c.String()))
	}
	if errors.Is(r.result.Err, ErrStopping) {
		m.Log.LogAttrs(context.Background(), slog.LevelInfo, "job not run", job, slog.Any("err", r.result.Err), duration)
		return
	}
	if r.result.Err != nil {
		m.Log.LogAttrs(context.Background(), slog.LevelError, "job failed", job, slog.Any("err", r.result.Err), duration)
		return
	}
	m.Log.LogAttrs(context.Background(), slog.LevelInfo, "job done", job, slog.String("reason", tally(r.counts)), duration)
}

func tally(counts map[record.Status]int) string {
	text := ""
	for _, s := range record.Statuses() {
		if counts[s] > 0 {
			text += fmt.Sprintf(", %d %s", counts[s], s)
		}
	}
	return cmp.Or(strings.TrimPrefix(text, ", "), "nothing to do")
}
