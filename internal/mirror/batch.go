package mirror

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/wire"
)

// selection is what a job asks for.
type selection []selected

// selected is one image, or the chosen tags of a route.
type selected struct {
	image   bool
	source  image.Reference
	targets []image.Reference
	tags    image.TagList
	retag   plan.Retag
}

func selectedOf(route plan.Route, tags image.TagList) selected {
	s := selected{source: image.Reference{Repository: route.Source}, tags: tags, retag: route.Retag}
	for _, target := range route.Targets {
		s.targets = append(s.targets, image.Reference{Repository: target})
	}
	return s
}

// len is the number of tags.
func (s selection) len() (n int) {
	for _, one := range s {
		n += one.tags.Len()
		if one.image {
			n++
		}
	}
	return n
}

// asks are made one after another, since they take ten times the memory of the tags.
func (s selection) asks() iter.Seq[ask] {
	return func(yield func(ask) bool) {
		for _, one := range s {
			if one.image && !yield(ask{one.source, one.targets}) {
				return
			}
			for tag := range one.tags.All() {
				if !yield(one.ask(tag)) {
					return
				}
			}
		}
	}
}

func (s *selected) ask(tag string) ask {
	a := ask{source: s.source.Repository.Tag(tag), targets: make([]image.Reference, 0, len(s.targets))}
	for _, target := range s.targets {
		a.targets = append(a.targets, target.Repository.Tag(s.retag.Of(tag)))
	}
	return a
}

// work observes a run in batches, and calls bring with each. While it asks for what there is, it holds a slot, which the caller has taken.
func (m *Mirror) work(ctx context.Context, r *run, slots chan struct{}, queues *queues, bring func(*batch)) {
	w := &worker{m: m, run: r, slots: slots, queues: queues, bring: bring, batches: make(chan struct{}, batchesAtOnce)}
	err := w.all(wire.Share(ctx, r.job.Source.Registry, r.job.Name))
	queues.whole(r)
	w.group.Wait()
	r.list(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, out := range r.left.made { // of tags that are gone since, or that could not be observed
		r.result.Outcomes = append(r.result.Outcomes, out)
	}
	if r.result.Err == nil {
		r.result.Err = err
	}
	r.finish()
}

// worker has the batches of a run worked on.
type worker struct {
	m       *Mirror
	run     *run
	slots   chan struct{}
	queues  *queues
	bring   func(*batch)
	batches chan struct{} // those under way
	group   sync.WaitGroup
	// asks are those of the next batch, and listed is what listings say.
	asks   []ask
	listed listed
}

// all goes through all that the run asks for.
func (w *worker) all(ctx context.Context) error {
	m, r := w.m, w.run
	if m.stopping() {
		<-w.slots
		return ErrStopping
	}
	wanted, short, err := w.selected(ctx)
	<-w.slots
	if err != nil {
		w.flush(ctx, nil)
		return err
	}
	if len(r.others) > 0 {
		r.list(wanted)
		r.shared = sync.OnceValue(func() map[image.Reference][]string { return m.contested(ctx, r, r.others) })
	}
	m.Watcher.Observing(wanted.len())
	for a := range wanted.asks() {
		w.ask(ctx, a)
	}
	w.flush(ctx, short)
	return nil
}

// selected lists what the run asks for, and what listings say of it.
func (w *worker) selected(ctx context.Context) (wanted selection, short []Outcome, err error) {
	job := w.run.job
	if w.streams() { // each list has its own time
		wanted, short, err = w.m.selectedBy(ctx, job, func(route plan.Route) (tags image.TagList, few, err error) { return w.tags(ctx, route) })
	} else {
		wanted, short, err = w.whole(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	listing, listed := within(ctx, toLook(job))
	defer listed()
	w.listed = w.m.listings(listing, w.run, wanted)
	return wanted, short, nil
}

// whole lists all that the run asks for at once.
func (w *worker) whole(ctx context.Context) (wanted selection, short []Outcome, err error) {
	job := w.run.job
	listing, listed := within(ctx, toLook(job))
	defer listed()
	if w.run.some != nil {
		wanted, err = w.m.selectedOfSome(listing, job, w.run.some)
	} else {
		wanted, short, err = w.m.selected(listing, job)
	}
	return wanted, short, late(listing, toLook(job), err)
}

// streams reports whether batches may begin before all tags are listed: nobody else writes them, and none is chosen only because of others.
func (w *worker) streams() bool {
	job := w.run.job
	_, literal := job.Tags.Literals()
	return w.m.Pages != nil && w.run.some == nil && len(w.run.others) == 0 && !job.Image() && job.Images == nil && !literal && !job.Tags.Ranks()
}

// tags lists the tags of a route. If the list has several pages, batches of it begin as they come, and only what these lack is returned; but not
// where a registry may list digests, which is asked once for all tags.
func (w *worker) tags(ctx context.Context, route plan.Route) (tags image.TagList, few, err error) {
	m, job := w.m, w.run.job
	listing, listed := within(ctx, toLook(job))
	defer listed()
	f := m.feed(listing, job, route.Source)
	defer f.close()
	if f.paged() && !m.mayList(ctx, job, route) {
		err = w.stream(ctx, f, selectedOf(route, tags))
	} else {
		tags = f.list()
	}
	if err != nil {
		return tags, nil, err
	}
	absent, few, err := f.lacks()
	if err != nil {
		return tags, nil, At(Source, route.Source, late(listing, toLook(job), fmt.Errorf("list tags: %w", err)))
	}
	m.warn(ctx, job, route.Source, &f.sieve.odd)
	if len(absent) > 0 {
		tags = image.NewTagList(slices.AppendSeq(absent, tags.All()))
	}
	return tags, few, nil
}

// stream begins batches with the tags of a list as they come.
func (w *worker) stream(ctx context.Context, f *feed, of selected) error {
	<-w.slots // the batches need some
	defer func() { w.slots <- struct{}{} }()
	for page := range f.all() {
		if w.m.stopping() {
			return ErrStopping
		}
		w.m.Watcher.Observing(len(page))
		for _, tag := range page {
			w.ask(ctx, of.ask(tag))
		}
	}
	return nil
}

// ask adds what to ask to the next batch, which begins once it is full.
func (w *worker) ask(ctx context.Context, a ask) {
	if w.asks = append(w.asks, a); len(w.asks) == tagsOfBatch {
		w.flush(ctx, nil)
	}
}

// flush begins a batch with what has been added, and with outcomes that are known already.
func (w *worker) flush(ctx context.Context, known []Outcome) {
	if len(w.asks) == 0 && len(known) == 0 {
		return
	}
	p := w.run.batch(w.asks)
	p.failed, p.listed, w.asks = known, w.listed, nil
	w.queues.expect(w.run)
	w.batches <- struct{}{}
	w.group.Go(func() {
		defer func() { <-w.batches }()
		w.slots <- struct{}{}
		err := w.m.observe(ctx, p)
		<-w.slots
		if err == nil {
			p.decide()
			w.bring(p)
		} else {
			p.outcomes = nil
			w.queues.each(p, nil, nil) // it is observed, all the same
		}
		w.run.end(w.m.CountKept, p, err)
	})
}

// observe asks both sides for the tags of a batch.
func (m *Mirror) observe(ctx context.Context, p *batch) error {
	listing, listed := within(ctx, toLook(p.job))
	defer listed()
	asks := m.settle(listing, p)
	var group errgroup.Group
	group.SetLimit(observedTags)
	for _, a := range asks {
		p.looks <- struct{}{}
		group.Go(func() error {
			defer func() { <-p.looks }()
			if m.stopping() {
				return ErrStopping
			}
			m.observeOne(ctx, p, a)
			m.Watcher.Observed()
			return nil
		})
	}
	return group.Wait()
}

// end adds the outcomes of a batch to those of the run. Those of kept tags, of which there is nothing else to tell, may be counted.
func (r *run) end(countKept bool, p *batch, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.result.Err == nil {
		r.result.Err = err
	}
	if r.counts == nil {
		r.counts, r.kept = map[record.Status]int{}, map[Kept]int{}
	}
	for _, out := range p.outcomes {
		r.counts[out.Status]++
		if countKept && out.plainlyKept() {
			r.kept[Kept{Source: out.Source.Repository, Target: out.Target.Repository, Reason: out.Reason, Unverified: out.Unverified}]++
			continue
		}
		r.result.Outcomes = append(r.result.Outcomes, out)
	}
	p.outcomes = nil
}

// finish puts the outcomes in order. The caller holds the lock.
func (r *run) finish() {
	r.result.Duration = time.Since(r.result.Started)
	slices.SortStableFunc(r.result.Outcomes, func(a, b Outcome) int { return diff.Compare(a.Action, b.Action) })
	for k, n := range r.kept {
		k.Count = n
		r.result.Kept = append(r.result.Kept, k)
	}
	slices.SortFunc(r.result.Kept, Kept.compare)
}
