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
	"github.com/draysync/dray/internal/flight"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/plan"
	"github.com/draysync/dray/internal/record"
	"github.com/draysync/dray/internal/signature"
	"github.com/draysync/dray/internal/tagfilter"
	"github.com/draysync/dray/internal/wire"
)

// run is a job under way.
type run struct {
	job    plan.Job
	result Result
	// some are the only tags to look at; nil for all.
	some []image.Reference
	// approved are the only imports to make, by target; nil for all.
	approved map[image.Reference]diff.Action
	// planned are the digests that the sources of approved imports had.
	planned map[image.Reference]image.Digest
	// others are the runs of jobs that may write the same repositories; shared finds out once, by reference, which tags they write as well, too.
	others []*run
	shared func() map[image.Reference][]string

	// looks has room for tags that are looked at.
	looks chan struct{}

	mu sync.Mutex
	// sibling is a digest that a target repository was observed to hold, the smallest of those that were seen; stocked are those with a tag.
	sibling map[image.Repository]image.Digest
	stocked map[image.Repository]bool
	// there are the immutable tags that target repositories list, sorted.
	there map[image.Repository]func() []string
	// counts are of all outcomes so far.
	counts map[record.Status]int
	// kept counts the tags that are counted only.
	kept map[Kept]int
	// waits counts the batches that are not queued yet, and one for those to come. arrived is set once others no longer wait for the run to be
	// observed. The queues' lock guards both.
	waits   int
	arrived bool
	// said are the choices of an engine that have been logged.
	said sync.Map
	// verdicts shares looks at signatures, and verdictOf has what they found, by image.
	verdicts  flight.Group[signature.Report]
	verdictOf sync.Map
	// claimed is closed once claims has what the job may write; nothing changes them then.
	claimed  chan struct{}
	listOnce sync.Once
	claims   []diff.Claim
	// left is what an earlier run of the job has left.
	left left
}

// batch is some of the tags of a run, from asking for them until they are imported. All that is known of a tag ends with its batch, but for outcomes
// that somebody wants to see.
type batch struct {
	*run
	asks []ask
	// listed is what listings say of both sides.
	listed   listed
	outcomes []Outcome

	mu     sync.Mutex
	seen   []diff.Observation
	failed []Outcome
	// held is what the target repositories were observed to hold, with a tag; observed are the tags that were asked for.
	held     map[image.Repository]map[image.Digest]string
	observed map[image.Repository]map[string]image.Digest
	// offered are the indexes at the source.
	offered map[image.Digest]image.Descriptor
	// alike are the imports of the batch; they do not change once importing has begun.
	alike map[likeness][]Alike
	// queued is set once the batch is queued for the first time; the queues' lock guards it.
	queued bool
}

// ask is one tag or digest at the source, with its targets.
type ask struct {
	source  image.Reference
	targets []image.Reference
}

func newRun(job plan.Job) *run {
	r := &run{job: job, waits: 1, result: Result{Job: job.Name, Started: time.Now()}, claimed: make(chan struct{}), looks: make(chan struct{}, observedBetween)}
	r.shared = func() map[image.Reference][]string { return nil }
	return r
}

func (r *run) batch(asks []ask) *batch {
	return &batch{
		run: r, asks: asks, held: map[image.Repository]map[image.Digest]string{}, observed: map[image.Repository]map[string]image.Digest{},
		offered: map[image.Digest]image.Descriptor{},
	}
}

// list notes what the job may write. Only the first call counts.
func (r *run) list(wanted selection) {
	r.listOnce.Do(func() {
		for a := range wanted.asks() {
			for _, target := range a.targets {
				r.claims = append(r.claims, diff.Claim{Job: r.job.Name, Target: target})
			}
		}
		close(r.claimed)
	})
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
	claims = append(claims, r.claims...)
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
				wanted, _, err := m.selected(wire.Share(ctx, r.job.Source.Registry, r.job.Name), r.job)
				if err != nil {
					wanted = nil // it writes nothing now
				}
				r.list(wanted)
				return nil
			})
		}
		_ = group.Wait()
	}()
	return runs
}

func (r *batch) decide() {
	contested := r.shared()
	for i, o := range r.seen {
		if jobs, ok := contested[diff.TagOrDigest(o.Target)]; ok {
			r.seen[i].Declined = diff.TwoWriters
			r.seen[i].Detail = fmt.Sprintf("the mappings %q all write this tag: give them different targets, or narrow their tags", jobs)
		}
	}
	actions := diff.Actions(r.job, r.seen)
	r.outcomes = slices.Grow(r.failed, len(actions))
	r.seen, r.failed, r.asks, r.listed = nil, nil, nil, nil // the outcomes have what is needed of them
	for _, a := range actions {
		r.approve(&a)
		out := Outcome{Action: a, Job: r.job.Name}
		switch a.Op {
		case diff.Keep:
			out.Status = record.Kept
		case diff.Refuse:
			out.Status = record.Refused
		case diff.Import:
		}
		r.outcomes = append(r.outcomes, out)
	}
	r.likewise()
	slices.SortStableFunc(r.outcomes, func(a, b Outcome) int { return diff.Compare(a.Action, b.Action) })
}

// likewise records which imports copy the same manifest to the same registry.
func (r *batch) likewise() {
	r.alike = map[likeness][]Alike{}
	for _, out := range r.outcomes {
		if out.pending() {
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

func (r *batch) likenessOf(a diff.Action) likeness {
	source := a.Source
	if source.Digest != "" {
		source.Tag = ""
	}
	return likeness{source, a.Target.Registry, r.job.RefusesMove(a.Target.Tag)}
}

// pending counts the actions that still have to be imported.
func (r *batch) pending() int {
	n := 0
	for _, out := range r.outcomes {
		if out.pending() {
			n++
		}
	}
	return n
}

// order returns what the engine needs to know about the outcome at i.
func (r *batch) order(i int) Order {
	action := r.outcomes[i].Action
	held := r.held[action.Target.Repository]
	r.run.mu.Lock()
	sibling, stocked := r.sibling[action.Target.Repository], r.stocked[action.Target.Repository]
	r.run.mu.Unlock()
	return Order{
		Action: action, Platforms: r.job.Platforms, Referrers: r.job.Referrers, ReferrersInterval: r.job.ReferrersInterval,
		ForeignLayers: r.job.ForeignLayers, RefuseMoved: r.job.RefusesMove(action.Target.Tag), Job: r.job.Name, Engine: r.job.Engine, ResolveServer: r.job.ResolveServer,
		Alike: r.alike[r.likenessOf(action)], Offered: r.offered[action.Source.Digest],
		Fresh: r.some == nil && !stocked, Sibling: cmp.Or(action.Was, sibling), HeldAs: held[action.Digest], Observed: r.observed[action.Target.Repository], Since: r.result.Started,
	}
}

// selected lists what the job asks for: the tags that its filter selects in each of its repositories. If it selects too few, an outcome
// says so.
func (m *Mirror) selected(ctx context.Context, job plan.Job) (selection, []Outcome, error) {
	return m.selectedBy(ctx, job, func(route plan.Route) (image.TagList, error, error) {
		tags, few, err := m.tags(ctx, job, route.Source)
		return image.NewTagList(tags), few, err
	})
}

// selectedBy is selected with another way to list the tags of a route.
func (m *Mirror) selectedBy(ctx context.Context, job plan.Job, list func(plan.Route) (tags image.TagList, few, err error)) (selection, []Outcome, error) {
	if job.Image() {
		return selection{{image: true, source: job.Source, targets: job.Targets}}, nil, nil
	}
	if job.Images != nil {
		return imagesOf(job, func(image.Reference) bool { return true }), nil, nil
	}
	routes, short, err := m.routes(ctx, job)
	if err != nil {
		return nil, nil, err
	}
	var all selection
	chosen := 0
	for _, route := range routes {
		tags, few, err := list(route)
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
		if chosen += tags.Size() + nameCost*tags.Len(); chosen > maxNames {
			return nil, nil, At(Source, route.Source, tooMany("tags"))
		}
		all = append(all, selectedOf(route, tags))
	}
	return all, short, nil
}

// imagesOf returns the images that a job names for which keep returns true.
func imagesOf(job plan.Job, keep func(source image.Reference) bool) (all selection) {
	for _, i := range job.Images {
		if keep(i.Source) {
			all = append(all, selected{image: true, source: i.Source, targets: i.Targets})
		}
	}
	return all
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
	sieve := newSieve(job, repo)
	all, err := m.Observer.Tags(ctx, repo, sieve.keep)
	if err != nil {
		return nil, nil, At(Source, repo, fmt.Errorf("list tags: %w", err))
	}
	if size(all) > maxNames {
		return nil, nil, At(Source, repo, tooMany("tags"))
	}
	m.warn(ctx, job, repo, &sieve.odd)
	choice := job.Tags.Choose(all)
	return slices.Concat(choice.Tags, choice.Absent), fewTags(choice.Short, sieve.instead(len(all) == 0)), nil
}

// sieve keeps the names of a list that a job can select, and knows what the others are.
type sieve struct {
	job   plan.Job
	near  *tagfilter.Nearest
	odd   nameless
	found bool // by a pattern, so that nothing else is needed
	// verified is set if a policy holds: what cosign tags after an image is then copied with it, and is no image that somebody has signed.
	verified bool
}

func newSieve(job plan.Job, repo image.Repository) *sieve {
	return &sieve{job: job, near: job.Tags.Nearest(), verified: job.PolicyOf(repo) != nil}
}

func (s *sieve) keep(tag string) bool {
	keep := s.job.Tags.CanChoose(tag)
	if s.verified && image.IsAttachmentTag(tag) && !s.job.Tags.Names(tag) {
		return false
	}
	if !keep {
		s.odd.add(tag)
	}
	if s.found = s.found || keep && !s.job.Tags.Names(tag); !s.found && !keep {
		s.near.Add(tag)
	}
	return keep
}

// instead says what there is that looks like what was looked for; none says that nothing was kept.
func (s *sieve) instead(none bool) string {
	switch nearest := s.near.Tags(); {
	case len(nearest) > 0:
		return "; the nearest there are " + strings.Join(nearest, ", ")
	case none && s.odd.String() != "":
		return "; the source has no tags, and " + s.odd.String()
	case none:
		return "; the source has no tags"
	}
	return ""
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
func (m *Mirror) observeOne(ctx context.Context, r *batch, a ask) {
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
	m.compare(ctx, a, &s)
	r.note(ctx, a, &s)
}

// compare compares by content what source and target name by digests of two algorithms. A manifest is kept by its digest, so that a target is asked once
// for each; where that fails, the tag counts as moved.
func (m *Mirror) compare(ctx context.Context, a ask, s *sight) {
	for i, target := range a.targets {
		want, held := s.offer.Want, s.held[i].Held
		if s.sourceErr != nil || s.errs[i] != nil || want == "" || held == "" || want.Algorithm() == held.Algorithm() {
			continue
		}
		if there, err := m.Manifests.Manifest(ctx, target.WithDigest(held)); err == nil && image.DigestOf(there.Raw, want) == want {
			s.held[i].Held = want
		}
	}
}

// note records what is known of one tag.
func (r *batch) note(ctx context.Context, a ask, s *sight) {
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
func (r *batch) noteHeld(o diff.Observation, listed bool) {
	repo := o.Target.Repository
	if !o.Hidden && o.Target.Tag != "" {
		if r.observed[repo] == nil {
			r.observed[repo] = map[string]image.Digest{}
		}
		r.observed[repo][o.Target.Tag] = o.Held
	}
	if o.Held == "" {
		return
	}
	if !listed && r.held[repo] == nil {
		r.held[repo] = map[image.Digest]string{}
	}
	if !listed {
		r.held[repo][o.Held] = o.Target.Tag
	}
	r.stock(repo, o.Held, listed)
}

// stock records that a target repository has a tag, and, unless only a listing says so, a digest.
func (r *run) stock(repo image.Repository, held image.Digest, listed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stocked == nil {
		r.stocked, r.sibling = map[image.Repository]bool{}, map[image.Repository]image.Digest{}
	}
	r.stocked[repo] = true
	if known := r.sibling[repo]; !listed && held != "" && (known == "" || held < known) {
		r.sibling[repo] = held
	}
}

// noteOffered records what the source offers, if it is an index.
func (r *batch) noteOffered(d image.Descriptor) {
	if !image.IsIndex(d.MediaType) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offered[d.Digest] = d
}

// offer asks the source, and determines what a target would hold.
func (m *Mirror) offer(ctx context.Context, r *batch, o *diff.Observation) error {
	job := r.job
	if job.ResolveServer {
		o.Unresolved = true
		return nil
	}
	desc, err := m.Observer.Head(ctx, o.Source)
	if err != nil && ctx.Err() == nil && o.Source.Digest != "" && m.unneeded(job, o.Source, err) {
		desc, err = image.Descriptor{Digest: o.Source.Digest}, nil
	}
	if err != nil {
		return At(Source, o.Source, err)
	}
	err = m.offered(ctx, r, o, desc)
	if now, ok := r.moved(o.Source, err); ok {
		err = m.offered(ctx, r, o, now)
	}
	return err
}

// offered determines what a target would hold of what the source has named.
func (m *Mirror) offered(ctx context.Context, r *batch, o *diff.Observation, desc image.Descriptor) error {
	o.Source = o.Source.WithDigest(desc.Digest)
	r.noteOffered(desc)
	if r.unplanned(o.Source) { // before it is refused, it has to be what the source gives
		if _, err := m.Manifests.Manifest(ctx, o.Source); err != nil {
			return At(Source, o.Source, err)
		}
	}
	if byPattern(r.job, o.Source.Tag) {
		list, err := m.isList(ctx, o.Source, desc)
		if list {
			err = errList
		}
		if err != nil {
			return At(Source, o.Source, err)
		}
	}
	var err error
	o.Want, err = m.Manifests.Resolve(ctx, o.Source, desc, r.job.Platforms)
	refused, ok := errors.AsType[*RefusedError](err)
	switch {
	case ok && o.Want != "":
		o.Short = refused.Detail
		return nil
	case ok:
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
