package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
)

// Observer asks registries what they have. Its errors wrap [image.ErrAbsent] only where the registry said so.
type Observer interface {
	// Tags returns those tags of a repository that keep returns true for. It may be asked for one tag several times.
	Tags(ctx context.Context, repo image.Repository, keep func(tag string) bool) ([]string, error)
	// Head returns what a tag or a digest stands for, without fetching the manifest where the registry allows it.
	Head(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	// Held is Head at a target. Its error wraps [image.ErrHidden] where the registry does not say whether it is there.
	Held(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	// Catalog returns the paths of the repositories at the registry of prefix that lie below it, and that keep returns true for.
	Catalog(ctx context.Context, prefix image.Repository, keep func(path string) bool) ([]string, error)
}

// Order is what an engine needs to know to import one manifest.
type Order struct {
	diff.Action
	Platforms []image.Platform
	Referrers plan.Referrers
	// ReferrersOnly says that another engine imports the image, so that Refresh looks for new referrers alone.
	ReferrersOnly bool
	// ReferrersInterval is how often an unchanged image is looked at for new referrers.
	ReferrersInterval time.Duration
	// ForeignLayers brings layers that a manifest names by URLs as well.
	ForeignLayers bool
	// Fresh says that the target repository held none of the tags that were observed there, so that probably nothing of
	// the image is there yet.
	Fresh bool
	// Sibling is a digest that the target repository was observed to hold under some tag; empty where none was.
	Sibling image.Digest
	// RefuseMoved says that a tag which holds something else is not moved, also where it has come to hold that since the plan.
	RefuseMoved bool
	// Job is the name of the job, Engine the engine that it names: "auto", "copy" or "acr".
	Job, Engine string
	// ResolveServer says that only the target's registry can ask the source, so that Source and Digest may be without a digest.
	ResolveServer bool
	// Alike are the targets at the same registry to which the run brings the same manifest, this one among them.
	Alike []Alike
	// HeldAs is a tag of the target repository that was observed to hold Digest already; empty where none was.
	HeldAs string
	// Observed are the tags of the target repository that the run asked for, with what each holds; empty for nothing.
	Observed map[string]image.Digest
	// Since is when the run began to observe: what was seen before is memory.
	Since time.Time
}

// Alike is one target of several to which the same manifest goes.
type Alike struct {
	Target image.Reference
	// Was is the digest that it held; empty where it had no such tag.
	Was image.Digest
}

// Choice is the engine for one import, and the reason for it, which may be empty.
type Choice struct {
	Importer
	Reason string
}

// Importer is an engine.
type Importer interface {
	// Name is the engine's name in reports: "copy".
	Name() string
	// Resolve returns the digest that a target will hold after an import of offered with these platforms, or a
	// *RefusedError where it cannot be imported.
	Resolve(ctx context.Context, source image.Reference, offered image.Descriptor, platforms []image.Platform) (image.Digest, error)
	// Measure returns what an import would cost at the most, changing nothing.
	Measure(ctx context.Context, order Order) (Cost, error)
	// Refresh brings what has come to refer to an image since it was last looked at, where that is due. The target holds the
	// image, as order.HeldAs.
	Refresh(ctx context.Context, order Order) (Cost, error)
	// Import makes the target tag hold order.Digest. When it returns an error the target tag is what it was before.
	Import(ctx context.Context, order Order, meter Meter) (Receipt, error)
}

// Mirror runs jobs. All fields but Draining, Choose and Manifest are required; they are not changed after the first run.
type Mirror struct {
	Observer Observer
	// Engine tells what targets will hold, and makes the imports for which Choose has no other.
	Engine  Importer
	Watcher Watcher
	Log     *slog.Logger
	// Draining is closed when nothing new is to begin: what is under way goes on, the rest is deferred with ErrStopping. nil is
	// never closed.
	Draining <-chan struct{}
	// Manifest fetches a manifest by its digest, and remembers it. Without it a tag that may be a list of referrers passes for one.
	Manifest func(ctx context.Context, ref image.Reference) (image.Manifest, error)
	// Look tells what a target holds, for a job and one of its sources, and whether the target itself has said so; nil for what the Observer
	// says.
	Look func(ctx context.Context, job plan.Job, source, target image.Reference) (d image.Descriptor, verified bool, err error)
	// Closed tells that a target of a job cannot be asked for anything; nil for never.
	Closed func(job plan.Job, target image.Repository) bool
	// Pinned tells of a source that is named by its digest, and could not be asked, whether the import goes on all the same; nil for never.
	Pinned func(job plan.Job, err error) bool
	// Choose chooses the engine of an import; nil for always Engine.
	Choose func(ctx context.Context, order Order) Choice
}

// look asks what a target holds.
func (m *Mirror) look(ctx context.Context, job plan.Job, source, target image.Reference) (d image.Descriptor, verified bool, err error) {
	if m.Look != nil {
		return m.Look(ctx, job, source, target)
	}
	d, err = m.Observer.Held(ctx, target)
	return d, true, err
}

// choose returns the engine for an import.
func (m *Mirror) choose(ctx context.Context, order Order) Choice {
	if m.Choose == nil {
		return Choice{Importer: m.Engine}
	}
	return m.Choose(ctx, order)
}

// The bounds of what is under way at once. They only keep memory bounded: how many requests a registry sees at once is
// decided per registry, below the Observer and the Importer.
const (
	observedJobs    = 256
	observedTags    = 12
	importsPerQueue = 16
	// importsIntoOne is how many imports into one target are begun at first, shared by its queues, each of which begins leastImports.
	importsIntoOne = 32
	leastImports   = 2
	// bytesAnImport is how many bytes move until a queue begins one import more.
	bytesAnImport = 4 << 20
	// maxNames is how many bytes of names of tags, and of repositories, one job may choose; nameCost is what each takes besides.
	maxNames = 64 << 20
	nameCost = 16
)

// Plan returns what Sync would do and what it would cost, and changes nothing. The results are in the order of the jobs.
func (m *Mirror) Plan(ctx context.Context, jobs []plan.Job) []Result {
	return m.inGroups(ctx, jobs, func(runs []*run, queues *queues) {
		m.each(runs, queues, func(r *run, i int, _ func(int64)) {
			out := &r.result.Outcomes[i]
			ctx := shared(ctx, &out.Action)
			started := time.Now()
			order := r.order(i)
			engine := m.choose(ctx, order)
			out.Engine, out.EngineReason = engine.Name(), engine.Reason
			cost, err := engine.Measure(ctx, order)
			out.Cost = cost
			if err != nil {
				m.settleError(out, needed(out.Action, At(Source, out.Source, err)))
			}
			out.Duration = time.Since(started)
		})
	})
}

// Sync observes, imports what changed, and returns how each action ended, in the order of the jobs. It fails as a whole in
// no case: what went wrong is in the results.
func (m *Mirror) Sync(ctx context.Context, jobs []plan.Job) []Result {
	return m.inGroups(ctx, jobs, func(runs []*run, queues *queues) { m.bring(ctx, runs, queues) })
}

// SyncOne is Sync for one job of several. What it would write as well as one of the others is refused, as where they run together:
// for that the others' tags are listed where they are not known by name. One of the others that cannot list its tags now cannot
// write any either, and is left out.
func (m *Mirror) SyncOne(ctx context.Context, job plan.Job, others []plan.Job) Result {
	r := newRun(job)
	claims := make(chan []diff.Claim, 1)
	go func() { claims <- m.claims(ctx, others) }()
	m.observe(ctx, []*run{r}, make(chan struct{}, 1), func() []diff.Claim { return <-claims })
	m.bring(ctx, []*run{r}, newQueues())
	return r.result
}

// bring makes the imports of runs that have observed, and ends them.
func (m *Mirror) bring(ctx context.Context, runs []*run, queues *queues) {
	m.each(runs, queues, func(r *run, i int, moved func(int64)) { m.importOne(ctx, r, i, moved) })
	m.refresh(ctx, runs, queues)
	for _, r := range runs {
		m.report(r)
	}
}

// inGroups observes the jobs and has work go on with them. Jobs that may write one repository go on together, once all of them
// have observed; others do not wait for them, so that a registry that does not answer holds up nobody else.
func (m *Mirror) inGroups(ctx context.Context, jobs []plan.Job, work func([]*run, *queues)) []Result {
	all := make([]Result, len(jobs))
	queues := newQueues(jobs...)
	observing := make(chan struct{}, observedJobs)
	var group sync.WaitGroup
	for _, members := range plan.Groups(jobs) {
		group.Go(func() {
			runs := make([]*run, 0, len(members))
			for _, i := range members {
				runs = append(runs, newRun(jobs[i]))
			}
			m.observe(ctx, runs, observing, func() []diff.Claim { return nil })
			work(runs, queues)
			for k, i := range members {
				all[i] = runs[k].result
			}
		})
	}
	group.Wait()
	return all
}

// each calls f for all imports of the runs.
func (m *Mirror) each(runs []*run, queues *queues, f func(r *run, i int, moved func(bytes int64))) {
	imports := 0
	for _, r := range runs {
		imports += r.pending()
	}
	m.Watcher.Planned(imports)
	queues.each(runs, func(_ *run, out *Outcome) bool { return out.Op == diff.Import && out.Status == "" }, f)
	for _, r := range runs {
		r.result.Duration = time.Since(r.result.Started)
	}
}

// refresh has the engine look at what is kept, for what has come to refer to it.
func (m *Mirror) refresh(ctx context.Context, runs []*run, queues *queues) {
	wanted := func(r *run, out *Outcome) bool {
		return out.Status == Kept && out.Reason != diff.Immutable && !r.job.Referrers.None()
	}
	queues.each(runs, wanted, func(r *run, i int, _ func(int64)) {
		if m.stopping() {
			return // the next run looks
		}
		out := &r.result.Outcomes[i]
		ctx := shared(ctx, &out.Action)
		order := r.order(i)
		order.HeldAs = order.Target.Tag
		engine := m.choose(ctx, order)
		ctx, cancel := within(ctx, r.job.Timeout)
		defer cancel()
		cost, err := engine.Refresh(ctx, order)
		err = late(ctx, r.job.Timeout, err)
		out.Cost = cost
		if err != nil || cost != (Cost{}) {
			out.Engine = engine.Name()
		}
		if err != nil {
			m.settleError(out, needed(out.Action, err))
		}
	})
}

// report settles what needed no import, and writes the one line of the job.
func (m *Mirror) report(r *run) {
	counts := map[Status]int{}
	for _, out := range r.result.Outcomes {
		counts[out.Status]++
		if out.Op != diff.Keep && out.Engine != "" {
			continue // settled as it was imported
		}
		if out.Status != Kept {
			m.logOutcome(&out)
		}
		m.Watcher.End(out)
	}
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
	m.Log.LogAttrs(context.Background(), slog.LevelInfo, "job done", job, slog.String("reason", tally(counts)), duration)
}

func tally(counts map[Status]int) string {
	text := ""
	for _, s := range []Status{Kept, Imported, Refused, Failed, NothingChosen, Absent, Deferred} {
		if counts[s] > 0 {
			text += fmt.Sprintf(", %d %s", counts[s], s)
		}
	}
	return cmp.Or(strings.TrimPrefix(text, ", "), "nothing to do")
}
