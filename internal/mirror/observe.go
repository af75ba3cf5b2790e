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

	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/wire"
)

// run is a job under way.
type run struct {
	job    plan.Job
	result Result
	// some are the only tags to look at; nil for all.
	some []image.Reference

	mu     sync.Mutex
	seen   []diff.Observation
	failed []Outcome
	// held is what the target repositories were observed to hold, with a tag; observed are the tags that were asked for.
	held     map[image.Repository]map[image.Digest]string
	observed map[image.Repository]map[string]image.Digest
	// stocked are the target repositories with a tag whose digest was not asked for.
	stocked map[image.Repository]bool
	// listed is what listings say of both sides; it does not change once tags are observed.
	listed listed
	// offered are the indexes at the source.
	offered map[image.Digest]image.Descriptor
	// alike are the imports of the run; they do not change once importing has begun.
	alike map[likeness][]Alike
	// arrived is set once others no longer wait for it to be observed; the queues' lock guards it.
	arrived bool
	// said are the choices of an engine that have been logged.
	said sync.Map
	// claimed is closed once claims has what the job may write; nothing changes them then.
	claimed  chan struct{}
	listOnce sync.Once
	claims   []diff.Claim
}

// ask is one tag or digest at the source, with its targets.
type ask struct {
	source  image.Reference
	targets []image.Reference
}

func newRun(job plan.Job) *run {
	return &run{
		job: job, held: map[image.Repository]map[image.Digest]string{}, observed: map[image.Repository]map[string]image.Digest{},
		stocked: map[image.Repository]bool{}, offered: map[image.Digest]image.Descriptor{}, result: Result{Job: job.Name, Started: time.Now()},
		claimed: make(chan struct{}),
	}
}

// list notes what the job may write. Only the first call counts.
func (r *run) list(asks []ask) {
	r.listOnce.Do(func() {
		for _, a := range asks {
			for _, target := range a.targets {
				r.claims = append(r.claims, diff.Claim{Job: r.job.Name, Target: target})
			}
		}
		close(r.claimed)
	})
}

// observe runs the first half of a job: it asks both sides and lets diff decide. While it asks, it holds a slot. Others are the jobs that
// may write the same repositories.
func (m *Mirror) observe(ctx context.Context, r *run, slots chan struct{}, others []*run) {
	slots <- struct{}{}
	r.result.Err = m.observeJob(ctx, r)
	<-slots
	r.list(nil)
	r.result.Duration = time.Since(r.result.Started)
	if r.result.Err == nil {
		r.decide(m.contested(ctx, r, others))
	}
}

// contested finds the target tags that others would write as well. What a pattern chooses is known only now. One of the others that cannot
// list its tags in time cannot write any now, and sees this job's claims when it can. In runs of their own, two jobs may each see the other's
// list too late: then each goes by what the other's last such run listed, or they would write the tag in turns.
func (m *Mirror) contested(ctx context.Context, r *run, others []*run) map[image.Reference][]string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if r.some == nil {
		m.claims.Store(r.job.Name, r.claims)
	}
	var claims []diff.Claim
	late := false
	for _, other := range others {
		if other == r {
			continue
		}
		select {
		case <-other.claimed:
		case <-ctx.Done():
		}
		select {
		case <-other.claimed:
			claims = append(claims, other.claims...)
		default:
			late = true
			if listed, ok := m.claims.Load(other.job.Name); ok {
				claims = append(claims, listed.([]diff.Claim)...) //nolint:forcetypeassert // only claims are stored
			}
		}
	}
	if !late && r.some == nil {
		m.claims.Delete(r.job.Name)
	}
	for _, o := range r.seen {
		claims = append(claims, diff.Claim{Job: r.job.Name, Target: o.Target})
	}
	for _, out := range r.failed {
		claims = append(claims, diff.Claim{Job: r.job.Name, Target: out.Target})
	}
	return diff.Contested(claims)
}

// rivals lists what jobs may write that do not run now, until the context ends.
func (m *Mirror) rivals(ctx context.Context, jobs []plan.Job) []*run {
	runs := make([]*run, len(jobs))
	for i, job := range jobs {
		runs[i] = newRun(job)
	}
	go func() {
		var group errgroup.Group
		group.SetLimit(observedJobs)
		for _, r := range runs {
			group.Go(func() error {
				asks, _, err := m.asks(wire.Share(ctx, r.job.Source.Registry), r.job)
				if err != nil {
					asks = nil // it writes nothing now
				}
				r.list(asks)
				return nil
			})
		}
		_ = group.Wait()
	}()
	return runs
}

func (r *run) decide(contested map[image.Reference][]string) {
	for i, o := range r.seen {
		if jobs, ok := contested[diff.TagOrDigest(o.Target)]; ok {
			r.seen[i].Declined = diff.TwoWriters
			r.seen[i].Detail = fmt.Sprintf("the mappings %q all write this tag: give them different targets, or narrow their tags", jobs)
		}
	}
	actions := diff.Actions(r.job, r.seen)
	r.result.Outcomes = slices.Grow(r.failed, len(actions))
	r.seen, r.failed, r.listed = nil, nil, nil // the outcomes have what is needed of them
	for _, a := range actions {
		out := Outcome{Action: a, Job: r.job.Name}
		switch a.Op {
		case diff.Keep:
			out.Status = record.Kept
		case diff.Refuse:
			out.Status = record.Refused
		case diff.Import:
		}
		r.result.Outcomes = append(r.result.Outcomes, out)
	}
	r.likewise()
	slices.SortStableFunc(r.result.Outcomes, func(a, b Outcome) int { return diff.Compare(a.Action, b.Action) })
}

// likewise records which imports copy the same manifest to the same registry.
func (r *run) likewise() {
	r.alike = map[likeness][]Alike{}
	for _, out := range r.result.Outcomes {
		if out.Op == diff.Import && out.Status == "" {
			key := r.likenessOf(out.Action)
			r.alike[key] = append(r.alike[key], Alike{Target: out.Target, Was: out.Was})
		}
	}
}

// likeness is what imports share that one request to a registry can make.
type likeness struct {
	source      image.Reference
	registry    string
	refuseMoved bool
}

func (r *run) likenessOf(a diff.Action) likeness {
	source := a.Source
	if source.Digest != "" {
		source.Tag = ""
	}
	return likeness{source, a.Target.Registry, r.job.RefusesMove(a.Target.Tag)}
}

// pending counts the actions that still have to be imported.
func (r *run) pending() int {
	n := 0
	for _, out := range r.result.Outcomes {
		if out.Op == diff.Import && out.Status == "" {
			n++
		}
	}
	return n
}

// order returns what the engine needs to know about the outcome at i.
func (r *run) order(i int) Order {
	action := r.result.Outcomes[i].Action
	held := r.held[action.Target.Repository]
	sibling := action.Was
	for digest := range held {
		if action.Was == "" && (sibling == "" || digest < sibling) {
			sibling = digest
		}
	}
	return Order{
		Action: action, Platforms: r.job.Platforms, Referrers: r.job.Referrers, ReferrersInterval: r.job.ReferrersInterval,
		ForeignLayers: r.job.ForeignLayers, RefuseMoved: r.job.RefusesMove(action.Target.Tag), Job: r.job.Name, Engine: r.job.Engine, ResolveServer: r.job.ResolveServer,
		Alike: r.alike[r.likenessOf(action)], Offered: r.offered[action.Source.Digest],
		Fresh: r.some == nil && len(held) == 0 && !r.stocked[action.Target.Repository], Sibling: sibling, HeldAs: held[action.Digest], Observed: r.observed[action.Target.Repository], Since: r.result.Started,
	}
}

func (m *Mirror) observeJob(ctx context.Context, r *run) error {
	if m.stopping() {
		return ErrStopping
	}
	ctx = wire.Share(ctx, r.job.Source.Registry)
	listing, listed := within(ctx, toLook(r.job))
	defer listed()
	asks, short, err := m.asksOfRun(listing, r)
	if err != nil {
		return late(listing, toLook(r.job), err)
	}
	r.failed = short
	r.list(asks)
	m.Watcher.Observing(len(asks))
	asks = m.settle(listing, r, asks)
	r.listed = m.listings(listing, r, asks)
	var group errgroup.Group
	group.SetLimit(observedTags)
	for _, a := range asks {
		group.Go(func() error {
			if m.stopping() {
				return ErrStopping
			}
			m.observeOne(ctx, r, a)
			m.Watcher.Observed()
			return nil
		})
	}
	return group.Wait()
}

// asksOfRun lists the references of a run.
func (m *Mirror) asksOfRun(ctx context.Context, r *run) (asks []ask, short []Outcome, err error) {
	if r.some == nil {
		return m.asks(ctx, r.job)
	}
	asks, err = m.asksOfSome(ctx, r.job, r.some)
	return asks, nil, err
}

// asks lists the references of the job: the tags that its filter selects in each of its repositories. If it selects too few, an outcome
// says so.
func (m *Mirror) asks(ctx context.Context, job plan.Job) ([]ask, []Outcome, error) {
	if job.Image() {
		return []ask{{source: job.Source, targets: job.Targets}}, nil, nil
	}
	routes, short, err := m.routes(ctx, job)
	if err != nil {
		return nil, nil, err
	}
	var all []ask
	chosen := 0
	for _, route := range routes {
		tags, few, err := m.tags(ctx, job, route.Source)
		if errors.Is(err, image.ErrAbsent) && len(routes) > 1 { // the others can still be asked
			for _, target := range route.Targets {
				short = append(short, unobserved(job.Name, image.Reference{Repository: route.Source}, image.Reference{Repository: target}, err))
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if few != nil {
			short = append(short, tooFew(job, route, few)...)
		}
		if chosen += size(tags); chosen > maxNames {
			return nil, nil, At(Source, route.Source, tooMany("tags"))
		}
		all = append(all, asksOf(route, tags)...)
	}
	return all, short, nil
}

// routes lists the repositories of the job; if there are too few, an outcome says so.
func (m *Mirror) routes(ctx context.Context, job plan.Job) (routes []plan.Route, short []Outcome, err error) {
	var catalog []string
	if job.NeedsCatalog() {
		if catalog, err = m.Observer.Catalog(ctx, job.Source.Repository, job.CanRoute); err != nil {
			return nil, nil, At(Source, job.Source, fmt.Errorf("list repositories: %w", err))
		}
		if size(catalog) > maxNames {
			return nil, nil, At(Source, job.Source, tooMany("repositories"))
		}
	}
	routes, unmatched := job.Routes(catalog)
	if len(unmatched) > 0 && !job.Tags.AllowsNone() {
		short = tooFew(job, plan.Route{Source: job.Source.Repository, Targets: repositories(job.Targets)}, noRepository(unmatched))
	}
	return routes, short, nil
}

// tags returns the tags of a repository that the job selects, including those that it names whether listed or not, and in few what it
// selects too little of.
func (m *Mirror) tags(ctx context.Context, job plan.Job, repo image.Repository) (tags []string, few error, err error) {
	if literals, ok := job.Tags.Literals(); ok {
		if len(literals) == 0 && !job.Tags.AllowsNone() {
			few = fewTags(job.Tags.Choose(nil).Short, "; exclude takes all that include names")
		}
		return literals, few, nil
	}
	near := job.Tags.Nearest()
	found := false // by a pattern, so that nothing else is needed
	var odd nameless
	all, err := m.Observer.Tags(ctx, repo, func(tag string) bool {
		keep := job.Tags.CanChoose(tag)
		if !keep {
			odd.add(tag)
		}
		if found = found || keep && !job.Tags.Names(tag); !found && !keep {
			near.Add(tag)
		}
		return keep
	})
	if err != nil {
		return nil, nil, At(Source, repo, fmt.Errorf("list tags: %w", err))
	}
	if size(all) > maxNames {
		return nil, nil, At(Source, repo, tooMany("tags"))
	}
	m.warn(ctx, job, repo, &odd)
	instead := ""
	switch nearest := near.Tags(); {
	case len(nearest) > 0:
		instead = "; the nearest there are " + strings.Join(nearest, ", ")
	case len(all) == 0 && odd.String() != "":
		instead = "; the source has no tags, and " + odd.String()
	case len(all) == 0:
		instead = "; the source has no tags"
	}
	choice := job.Tags.Choose(all)
	return slices.Concat(choice.Tags, choice.Absent), fewTags(choice.Short, instead), nil
}

// size returns how many bytes a list of names takes.
func size(names []string) int {
	n := len(names) * nameCost
	for _, name := range names {
		n += len(name)
	}
	return n
}

// tooMany is the error of a job that selects too much; key names what to narrow.
func tooMany(key string) error {
	return fmt.Errorf("more than %d MiB of names are chosen: narrow `%s` of the mapping", maxNames>>20, key)
}

// observeOne asks the source and every target for one tag, all at once, as far as no listing has said enough.
func (m *Mirror) observeOne(ctx context.Context, r *run, a ask) {
	ctx, cancel := within(ctx, toLook(r.job))
	defer cancel()
	s := sight{
		offer: diff.Observation{Source: a.source}, held: make([]diff.Observation, len(a.targets)),
		errs: make([]error, len(a.targets)), heldListed: make([]bool, len(a.targets)),
	}
	doubtful := byPattern(r.job, a.source.Tag)
	if doubtful { // targets are asked only if it is not a list
		if s.sourceErr = m.offer(ctx, r, &s.offer); errors.Is(s.sourceErr, errList) {
			return
		}
	}
	var group sync.WaitGroup
	offered := s.offer.Want // known only if it is doubtful
	for i, target := range a.targets {
		if digest := r.listed.of(target); digest != "" {
			s.held[i], s.heldListed[i] = diff.Observation{Held: digest}, true
			continue
		}
		group.Go(func() { s.held[i], s.errs[i] = m.held(ctx, r.job, a.source, target, offered) })
	}
	if s.offerListed = m.offerListed(ctx, r, &s.offer); !doubtful && !s.offerListed {
		s.sourceErr = m.offer(ctx, r, &s.offer)
	}
	group.Wait()
	m.confirm(ctx, r, a, &s)
	r.note(ctx, a, &s)
}

// note records what is known of one tag.
func (r *run) note(ctx context.Context, a ask, s *sight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, target := range a.targets {
		if err := cmp.Or(s.sourceErr, s.errs[i]); err != nil { // one cause on one line, the source's before the target's
			r.failed = append(r.failed, unobserved(r.job.Name, a.source, target, late(ctx, toLook(r.job), err)))
			continue
		}
		o := s.offer
		o.Target, o.Held, o.Hidden, o.Unseen = target, s.held[i].Held, s.held[i].Hidden, s.held[i].Unseen
		if s.held[i].Declined != "" {
			o.Declined, o.Detail = s.held[i].Declined, s.held[i].Detail
		}
		r.seen = append(r.seen, o)
		r.noteHeld(o, s.heldListed[i])
	}
}

// noteHeld records what a tag of a target holds. That a listing says so does not show that the image is there. The caller holds the lock.
func (r *run) noteHeld(o diff.Observation, listed bool) {
	repo := o.Target.Repository
	if !o.Hidden && o.Target.Tag != "" {
		if r.observed[repo] == nil {
			r.observed[repo] = map[string]image.Digest{}
		}
		r.observed[repo][o.Target.Tag] = o.Held
	}
	switch {
	case o.Held == "":
	case listed:
		r.stocked[repo] = true
	default:
		if r.held[repo] == nil {
			r.held[repo] = map[image.Digest]string{}
		}
		r.held[repo][o.Held] = o.Target.Tag
	}
}

// noteOffered records what the source offers, if it is an index.
func (r *run) noteOffered(d image.Descriptor) {
	if !image.IsIndex(d.MediaType) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offered[d.Digest] = d
}

// offer asks the source, and determines what a target would hold.
func (m *Mirror) offer(ctx context.Context, r *run, o *diff.Observation) error {
	job := r.job
	if job.ResolveServer {
		o.Unresolved = true
		return nil
	}
	desc, err := m.Observer.Head(ctx, o.Source)
	if err != nil && ctx.Err() == nil && o.Source.Digest != "" && m.unneeded(job, err) {
		desc, err = image.Descriptor{Digest: o.Source.Digest}, nil
	}
	if err != nil {
		return At(Source, o.Source, err)
	}
	o.Source = o.Source.WithDigest(desc.Digest)
	r.noteOffered(desc)
	if byPattern(job, o.Source.Tag) {
		list, err := m.isList(ctx, o.Source, desc)
		if list {
			err = errList
		}
		if err != nil {
			return At(Source, o.Source, err)
		}
	}
	o.Want, err = m.Manifests.Resolve(ctx, o.Source, desc, job.Platforms)
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		o.Declined, o.Detail, o.Want = refused.Reason, refused.Detail, desc.Digest
		return nil
	}
	return At(Source, o.Source, err)
}

// held asks a target. If the offer is known, what the target holds instead may be a referrers list.
func (m *Mirror) held(ctx context.Context, job plan.Job, source, target image.Reference, offered image.Digest) (diff.Observation, error) {
	desc, verified, err := m.look(ctx, job, source, target)
	switch {
	case errors.Is(err, image.ErrAbsent):
		return diff.Observation{}, nil
	case errors.Is(err, image.ErrHidden):
		m.Log.LogAttrs(ctx, slog.LevelDebug, "the target does not say what it holds", slog.String("target", target.String()), slog.Any("err", err))
		return diff.Observation{Hidden: true, Unseen: !verified}, nil
	}
	o := diff.Observation{Held: desc.Digest, Unseen: !verified && err == nil}
	if err == nil && verified && offered != "" && o.Held != offered {
		var list bool
		if list, err = m.isList(ctx, target, desc); list {
			refused, _ := errors.AsType[*RefusedError](ListThere(offered))
			o.Declined, o.Detail = refused.Reason, refused.Detail
		}
	}
	return o, At(Target, target, err)
}

// unobserved returns the outcome of what could not be asked: nothing is known, so nothing is done.
func unobserved(job string, source, target image.Reference, err error) Outcome {
	out := Outcome{Job: job, Status: record.Failed, Err: err}
	out.Action = diff.Action{Op: diff.Import, Reason: diff.Unobserved, Source: source, Target: target}
	if sided, ok := errors.AsType[*SideError](err); ok && sided.Side == Source && errors.Is(err, image.ErrAbsent) {
		out.Status, out.Reason = record.Absent, diff.SourceAbsent
	}
	if at, ok := retryAt(err); ok {
		out.Status, out.RetryAt = record.Deferred, at
	}
	return out
}
