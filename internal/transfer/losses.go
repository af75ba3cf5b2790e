package transfer

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/image"
)

// losses finds what targets have lost: if a tag is gone, or does not hold what was put there, what was below it may have been deleted as
// well. So it is asked for before anything relies on it, whichever image needs it.
type losses struct {
	mu     sync.Mutex
	looked map[look]*sync.Once
}

// look identifies what a run of a job observed of a repository.
type look struct {
	repo  image.Repository
	job   string
	since time.Time
}

// maxLooks limits those that are remembered; repeating one costs a query to the memory.
const maxLooks = 1000

func newLosses() *losses { return &losses{looked: map[look]*sync.Once{}} }

// once returns the once of a look.
func (l *losses) once(key look) *sync.Once {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.looked) > maxLooks {
		clear(l.looked)
	}
	if l.looked[key] == nil {
		l.looked[key] = &sync.Once{}
	}
	return l.looked[key]
}

// findLosses looks, once per run, for tags that do not hold what was put there, and doubts everything below that.
func (i *inventory) findLosses(ctx context.Context) {
	if len(i.observed) > 0 && i.options.Memory != nil {
		i.losses.once(look{i.repo, i.job, i.since}).Do(func() { i.doubtLost(ctx) })
	}
}

func (i *inventory) doubtLost(ctx context.Context) {
	holds := map[image.Digest]bool{}
	for _, d := range i.observed {
		holds[d] = true
	}
	lost := map[image.Digest]bool{}
	for _, was := range i.memory.tagged(ctx, i.repo, slices.Collect(maps.Keys(i.observed))) {
		if !holds[was] && !i.tree(ctx, was, lost, 0) { // it is not fully known any more
			i.locations.doubtAll(i.repo)
			i.memory.forget(ctx, i.repo)
			return
		}
	}
	i.distrustParts(ctx, slices.Collect(maps.Keys(lost)))
}

// distrustParts doubts that the repository holds the digests.
func (i *inventory) distrustParts(ctx context.Context, list []image.Digest) {
	if len(list) > 0 {
		i.locations.doubt(i.repo, list...)
		i.memory.forget(ctx, i.repo, list...)
	}
}

// lostBelow reports whether the repository may have lost something below an image.
func (i *inventory) lostBelow(ctx context.Context, root node) bool {
	below := map[image.Digest]bool{}
	for _, d := range root.digests() {
		i.tree(ctx, d, below, 1)
		below[d] = true
	}
	return slices.ContainsFunc(slices.Collect(maps.Keys(below)), i.doubts)
}

// tree adds a manifest with everything below it, as far as that is cached, and reports whether it is.
func (e *Engine) tree(ctx context.Context, d image.Digest, into map[image.Digest]bool, depth int) bool {
	if into[d] {
		return true
	}
	m, ok := e.known(ctx, d)
	if !ok || depth > image.MaxNesting || len(into) > maxBelow {
		return false
	}
	into[d] = true
	n, err := parse(m)
	if err != nil {
		return false
	}
	for _, b := range slices.Concat(n.blobs, n.foreign) {
		into[b.Digest] = true
	}
	for _, c := range n.children {
		if image.KindOf(c.MediaType) == image.LikelyBlobs {
			into[c.Digest] = true
		} else if !e.tree(ctx, c.Digest, into, depth+1) {
			return false
		}
	}
	return true
}
