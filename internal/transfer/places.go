package transfer

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/worktime"
)

// places remembers which repository holds what, as far as a registry has confirmed it, and keeps two imports from fetching
// one blob, or from bringing it to one registry, at the same time. What it remembers may be wrong later: a registry may have
// collected its garbage, and somebody may have deleted what nobody named. So it says since when it knows, and what a run finds gone puts
// what was below it in doubt.
type places struct {
	mu sync.Mutex
	// held is what a repository holds, with when that was seen; the zero time is that of what earlier processes saw.
	held map[image.Repository]map[image.Digest]time.Time
	// doubted is what a repository was thought to hold: it is asked before anything relies on it.
	doubted map[image.Repository]map[image.Digest]struct{}
	// holders has, for each blob and each place, one repository that holds it.
	holders  map[image.Digest]map[string]image.Repository
	flights  map[flight]*flying
	measured map[image.Repository]map[image.Digest]struct{}
	// sharers counts, for each blob, the manifests known so far that refer to it; counted are those manifests.
	sharers map[image.Digest]int
	counted map[image.Digest]struct{}
	// remembered are the repositories that earlier runs have filled.
	remembered map[image.Repository]bool
}

// flight is a blob on its way: from its source, while no target holds it; to a place that has it nowhere; or into one
// repository of a place that has it elsewhere.
type flight struct {
	digest     image.Digest
	place      string
	repository image.Repository
}

// flying is a flight under way, between the registry that it was started from and the place that it was started for.
type flying struct {
	source, place string
	ended         chan struct{}
	steps         atomic.Int64
}

// patience is how long an import waits for another pair of registries to go on with a blob that both want.
const patience = 5 * time.Second

// wait returns at the end of the flight, or, where the caller has a way around it, once it does not get on.
func (f *flying) wait(ctx context.Context, around bool) (stuck bool, err error) {
	defer worktime.Wait(ctx)()
	for {
		before := f.steps.Load()
		timer := time.NewTimer(patience)
		select {
		case <-f.ended:
			timer.Stop()
			return false, nil
		case <-ctx.Done():
			timer.Stop()
			return false, ctx.Err()
		case <-timer.C:
			if around && f.steps.Load() == before {
				return true, nil
			}
		}
	}
}

// placeOf names what can mount among its own repositories: a registry, or one layout for itself.
func placeOf(repo image.Repository) string {
	if repo.IsLayout() {
		return repo.String()
	}
	return repo.Registry
}

func newPlaces() *places {
	return &places{
		held:       map[image.Repository]map[image.Digest]time.Time{},
		doubted:    map[image.Repository]map[image.Digest]struct{}{},
		holders:    map[image.Digest]map[string]image.Repository{},
		flights:    map[flight]*flying{},
		measured:   map[image.Repository]map[image.Digest]struct{}{},
		sharers:    map[image.Digest]int{},
		counted:    map[image.Digest]struct{}{},
		remembered: map[image.Repository]bool{},
	}
}

// size counts what is remembered.
func (p *places) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.holders) + len(p.sharers) + len(p.counted)
	for _, held := range p.held {
		n += len(held)
	}
	for _, doubted := range p.doubted {
		n += len(doubted)
	}
	for _, measured := range p.measured {
		n += len(measured)
	}
	return n
}

// errand is what to do about a blob that is not yet where it is wanted.
type errand struct {
	// mount is another repository of the same place that holds the blob; zero where none is known.
	mount image.Repository
	// copied is a repository of another place to which the blob was brought before; zero where none is known. Reading it there
	// spares the source.
	copied image.Repository
	// progress is to be called as bytes move, done at the end.
	progress func()
	done     func(arrived bool)
}

// claim waits until the blob is in the repository, and then returns nil, or until it is for the caller to bring it there. What was
// last seen there before since does not count. It does not wait for other registries than the caller's that hang: rather is a blob
// fetched twice.
func (p *places) claim(ctx context.Context, source, repo image.Repository, d image.Digest, since time.Time) (*errand, error) {
	alone := false
	for {
		p.mu.Lock()
		if seen, ok := p.held[repo][d]; ok && !seen.Before(since) {
			p.mu.Unlock()
			return nil, nil //nolint:nilnil // no errand is the answer, and not an error
		}
		e, key := p.errand(repo, d)
		if alone {
			key.place = placeOf(repo)
		}
		under, busy := p.flights[key]
		if !busy {
			mine := &flying{source: placeOf(source), place: placeOf(repo), ended: make(chan struct{})}
			p.flights[key] = mine
			p.mu.Unlock()
			e.progress = func() { mine.steps.Add(1) }
			e.done = func(arrived bool) { p.end(key, mine.ended, repo, arrived) }
			return e, nil
		}
		p.mu.Unlock()
		foreign := key.place == "" && (under.source != placeOf(source) || under.place != placeOf(repo))
		stuck, err := under.wait(ctx, foreign)
		if err != nil {
			return nil, err
		}
		alone = alone || stuck
	}
}

// errand returns what has to be done for a blob, and the flight that it is part of. The lock is held.
func (p *places) errand(repo image.Repository, d image.Digest) (*errand, flight) {
	key := flight{digest: d}
	holders := p.holders[d]
	if len(holders) == 0 {
		return &errand{}, key
	}
	key.place = placeOf(repo)
	// The distribution project's registry answers 201 to the mount of a blob that is not named by sha256, and does not have it then.
	if mount, ok := holders[key.place]; ok && mount != repo && d.Algorithm() == "sha256" {
		key.repository = repo
		return &errand{mount: mount}, key
	}
	for _, place := range slices.Sorted(maps.Keys(holders)) {
		if holders[place] != repo {
			return &errand{copied: holders[place]}, key
		}
	}
	return &errand{}, key
}

func (p *places) end(key flight, ended chan struct{}, repo image.Repository, arrived bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flights, key)
	close(ended)
	if !arrived {
		return
	}
	p.note(repo, key.digest, time.Now())
	if p.holders[key.digest] == nil {
		p.holders[key.digest] = map[string]image.Repository{}
	}
	p.holders[key.digest][placeOf(repo)] = repo
}

// note remembers that the repository was seen to hold a blob or a manifest. The lock is held.
func (p *places) note(repo image.Repository, d image.Digest, seen time.Time) {
	if p.held[repo] == nil {
		p.held[repo] = map[image.Digest]time.Time{}
	}
	p.held[repo][d] = seen
	delete(p.doubted[repo], d)
}

// recall notes what a memory of earlier runs says, where this run knows nothing: that the repository holds a blob, or that
// another of its place does.
func (p *places) recall(holder image.Repository, d image.Digest, into image.Repository) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.doubted[holder][d]; ok {
		return
	}
	if holder == into {
		if _, ok := p.held[into][d]; !ok {
			p.note(into, d, time.Time{})
		}
		p.remembered[into] = true
	}
	if p.holders[d] == nil {
		p.holders[d] = map[string]image.Repository{}
	}
	if _, ok := p.holders[d][placeOf(holder)]; !ok {
		p.holders[d][placeOf(holder)] = holder
	}
}

// knows tells whether earlier runs have filled the repository, so that what is not remembered is hardly there.
func (p *places) knows(repo image.Repository) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remembered[repo]
}

// arrived remembers that the repository holds a manifest, with all below it.
func (p *places) arrived(repo image.Repository, d image.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(repo, d, time.Now())
}

// has tells whether the repository was seen to hold something, since a time or later.
func (p *places) has(repo image.Repository, d image.Digest, since time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, ok := p.held[repo][d]
	return ok && !seen.Before(since)
}

// doubt has the repository asked, before anything relies on it, for what it was thought to hold.
func (p *places) doubt(repo image.Repository, list ...image.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubtHeld(repo, slices.Values(list))
}

// doubtAll is doubt about everything.
func (p *places) doubtAll(repo image.Repository) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubtHeld(repo, maps.Keys(maps.Clone(p.held[repo])))
	delete(p.remembered, repo)
}

// doubtHeld is doubt with the lock held.
func (p *places) doubtHeld(repo image.Repository, list iter.Seq[image.Digest]) {
	if p.doubted[repo] == nil {
		p.doubted[repo] = map[image.Digest]struct{}{}
	}
	for d := range list {
		delete(p.held[repo], d)
		p.doubted[repo][d] = struct{}{}
		maps.DeleteFunc(p.holders[d], func(_ string, holder image.Repository) bool { return holder == repo })
	}
}

// doubts tells whether the repository may not hold what it was thought to hold.
func (p *places) doubts(repo image.Repository, d image.Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.doubted[repo][d]
	return ok
}

// measure tells whether the blob is to be counted for the repository: only once, and not where it is known to be held.
func (p *places) measure(repo image.Repository, d image.Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.held[repo][d]; ok {
		return false
	}
	if _, ok := p.measured[repo][d]; ok {
		return false
	}
	if p.measured[repo] == nil {
		p.measured[repo] = map[image.Digest]struct{}{}
	}
	p.measured[repo][d] = struct{}{}
	return true
}

// mostShared sorts the blobs of a manifest: first those that most manifests refer to, because other imports wait for them and
// mount them once they are there; then the largest. What is equal keeps its order.
func (p *places) mostShared(manifest image.Digest, blobs []blob) []blob {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.counted[manifest]; !ok {
		p.counted[manifest] = struct{}{}
		for _, b := range blobs {
			p.sharers[b.Digest]++
		}
	}
	sorted := slices.Clone(blobs)
	slices.SortStableFunc(sorted, func(a, b blob) int {
		return cmp.Or(cmp.Compare(p.sharers[b.Digest], p.sharers[a.Digest]), cmp.Compare(b.Size, a.Size))
	})
	return sorted
}
