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

// blobLocations remembers which repository holds which objects, as confirmed by registries. It also keeps two imports from fetching one
// blob, or from copying it to one registry, at the same time. Its knowledge may become wrong: a registry may collect garbage, and someone
// may delete objects. So it records when something was seen, and if a run finds an object gone, what was below it is in doubt.
type blobLocations struct {
	mu sync.Mutex
	// held is what a repository holds, and when that was seen; the zero time stands for what earlier processes saw.
	held map[image.Repository]map[image.Digest]time.Time
	// doubted is what a repository was believed to hold: it is asked before anything relies on it.
	doubted map[image.Repository]map[image.Digest]struct{}
	// holders has, for each blob and each mount scope, one repository that holds it.
	holders  map[image.Digest]map[string]image.Repository
	flights  map[flight]*flying
	measured map[image.Repository]map[image.Digest]struct{}
	// sharers counts, for each blob, the known manifests that refer to it; counted are those manifests.
	sharers map[image.Digest]int
	counted map[image.Digest]struct{}
	// remembered are the repositories that earlier runs have filled.
	remembered map[image.Repository]bool
}

// flight identifies a transfer of a blob: from its source, while no target holds it; to a mount scope without it; or into one repository of
// a mount scope that has it elsewhere.
type flight struct {
	digest     image.Digest
	scope      string
	repository image.Repository
}

// flying is a transfer under way, between the mount scopes of its source and its target.
type flying struct {
	source, scope string
	ended         chan struct{}
	steps         atomic.Int64
}

// patience is how long an import waits for another pair of registries to make progress with a blob that both want.
const patience = 5 * time.Second

// wait returns at the end of the transfer, or once it makes no progress if the caller has a way around it.
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

// scopeOf names the mount scope of a repository: the repositories among which blobs can be mounted. It is a registry, or one layout.
func scopeOf(repo image.Repository) string {
	if repo.IsLayout() {
		return repo.String()
	}
	return repo.Registry
}

func newBlobLocations() *blobLocations {
	return &blobLocations{
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
func (l *blobLocations) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.holders) + len(l.sharers) + len(l.counted)
	for _, held := range l.held {
		n += len(held)
	}
	for _, doubted := range l.doubted {
		n += len(doubted)
	}
	for _, measured := range l.measured {
		n += len(measured)
	}
	return n
}

// blobCopy says how to copy a blob that is missing.
type blobCopy struct {
	// mount is another repository of the same mount scope that holds the blob; zero if none is known.
	mount image.Repository
	// copied is a repository of another mount scope to which the blob was copied before; zero if none is known. Reading it there saves the
	// source a request.
	copied image.Repository
	// progress must be called as bytes move, done at the end.
	progress func()
	done     func(arrived bool)
}

// claim waits until the blob is in the repository, and then returns nil, or until the caller may copy it. It ignores what was last seen
// before since. It does not wait for a hanging transfer between other registries: fetching a blob twice is better.
func (l *blobLocations) claim(ctx context.Context, source, repo image.Repository, d image.Digest, since time.Time) (*blobCopy, error) {
	alone := false
	for {
		l.mu.Lock()
		if seen, ok := l.held[repo][d]; ok && !seen.Before(since) {
			l.mu.Unlock()
			return nil, nil //nolint:nilnil // nothing to copy is not an error
		}
		c, key := l.copyFor(repo, d)
		if alone {
			key.scope = scopeOf(repo)
		}
		under, busy := l.flights[key]
		if !busy {
			mine := &flying{source: scopeOf(source), scope: scopeOf(repo), ended: make(chan struct{})}
			l.flights[key] = mine
			l.mu.Unlock()
			c.progress = func() { mine.steps.Add(1) }
			c.done = func(arrived bool) { l.end(key, mine.ended, repo, arrived) }
			return c, nil
		}
		l.mu.Unlock()
		foreign := key.scope == "" && (under.source != scopeOf(source) || under.scope != scopeOf(repo))
		stuck, err := under.wait(ctx, foreign)
		if err != nil {
			return nil, err
		}
		alone = alone || stuck
	}
}

// copyFor returns how to copy a blob, and the transfer that the copy is part of. The caller holds the lock.
func (l *blobLocations) copyFor(repo image.Repository, d image.Digest) (*blobCopy, flight) {
	key := flight{digest: d}
	holders := l.holders[d]
	if len(holders) == 0 {
		return &blobCopy{}, key
	}
	key.scope = scopeOf(repo)
	// The distribution project's registry answers 201 to the mount of a blob whose digest is not sha256, without having it.
	if mount, ok := holders[key.scope]; ok && mount != repo && d.Algorithm() == "sha256" {
		key.repository = repo
		return &blobCopy{mount: mount}, key
	}
	for _, scope := range slices.Sorted(maps.Keys(holders)) {
		if holders[scope] != repo {
			return &blobCopy{copied: holders[scope]}, key
		}
	}
	return &blobCopy{}, key
}

func (l *blobLocations) end(key flight, ended chan struct{}, repo image.Repository, arrived bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flights, key)
	close(ended)
	if !arrived {
		return
	}
	l.note(repo, key.digest, time.Now())
	if l.holders[key.digest] == nil {
		l.holders[key.digest] = map[string]image.Repository{}
	}
	l.holders[key.digest][scopeOf(repo)] = repo
}

// note records that the repository was seen to hold a blob or a manifest. The caller holds the lock.
func (l *blobLocations) note(repo image.Repository, d image.Digest, seen time.Time) {
	if l.held[repo] == nil {
		l.held[repo] = map[image.Digest]time.Time{}
	}
	l.held[repo][d] = seen
	delete(l.doubted[repo], d)
}

// recall records what the memory of earlier runs says, if this run knows nothing: that the repository, or another of its mount scope, holds
// the blob.
func (l *blobLocations) recall(holder image.Repository, d image.Digest, into image.Repository) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.doubted[holder][d]; ok {
		return
	}
	if holder == into {
		if _, ok := l.held[into][d]; !ok {
			l.note(into, d, time.Time{})
		}
		l.remembered[into] = true
	}
	if l.holders[d] == nil {
		l.holders[d] = map[string]image.Repository{}
	}
	if _, ok := l.holders[d][scopeOf(holder)]; !ok {
		l.holders[d][scopeOf(holder)] = holder
	}
}

// knows reports whether earlier runs have filled the repository, so that unknown objects are probably missing.
func (l *blobLocations) knows(repo image.Repository) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remembered[repo]
}

// arrived records that the repository holds a manifest with everything below it.
func (l *blobLocations) arrived(repo image.Repository, d image.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(repo, d, time.Now())
}

// has reports whether the repository was seen to hold an object at some time or later.
func (l *blobLocations) has(repo image.Repository, d image.Digest, since time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen, ok := l.held[repo][d]
	return ok && !seen.Before(since)
}

// doubt puts objects of the repository in doubt: it is asked for them before anything relies on them.
func (l *blobLocations) doubt(repo image.Repository, list ...image.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubtHeld(repo, slices.Values(list))
}

// doubtAll puts everything in doubt.
func (l *blobLocations) doubtAll(repo image.Repository) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubtHeld(repo, maps.Keys(maps.Clone(l.held[repo])))
	delete(l.remembered, repo)
}

// doubtHeld is doubt with the lock held.
func (l *blobLocations) doubtHeld(repo image.Repository, list iter.Seq[image.Digest]) {
	if l.doubted[repo] == nil {
		l.doubted[repo] = map[image.Digest]struct{}{}
	}
	for d := range list {
		delete(l.held[repo], d)
		l.doubted[repo][d] = struct{}{}
		maps.DeleteFunc(l.holders[d], func(_ string, holder image.Repository) bool { return holder == repo })
	}
}

// doubts reports whether an object of the repository is in doubt.
func (l *blobLocations) doubts(repo image.Repository, d image.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.doubted[repo][d]
	return ok
}

// measure reports whether to count the blob for the repository: only once, and not if it is known to be there.
func (l *blobLocations) measure(repo image.Repository, d image.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.held[repo][d]; ok {
		return false
	}
	if _, ok := l.measured[repo][d]; ok {
		return false
	}
	if l.measured[repo] == nil {
		l.measured[repo] = map[image.Digest]struct{}{}
	}
	l.measured[repo][d] = struct{}{}
	return true
}

// mostShared sorts the blobs of a manifest: first those that most manifests refer to, because other imports wait for them and mount them;
// then the largest. Equal blobs keep their order.
func (l *blobLocations) mostShared(manifest image.Digest, blobs []blob) []blob {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.counted[manifest]; !ok {
		l.counted[manifest] = struct{}{}
		for _, b := range blobs {
			l.sharers[b.Digest]++
		}
	}
	sorted := slices.Clone(blobs)
	slices.SortStableFunc(sorted, func(a, b blob) int {
		return cmp.Or(cmp.Compare(l.sharers[b.Digest], l.sharers[a.Digest]), cmp.Compare(b.Size, a.Size))
	})
	return sorted
}
