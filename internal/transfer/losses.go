package transfer

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// losses finds what targets have lost: where a tag is gone, or holds something else than was put there, whoever did that may have deleted
// what was below it. So nothing of it is relied upon before it is asked for, by whatever image needs it.
type losses struct {
	mu     sync.Mutex
	looked map[look]*sync.Once
}

// look is one at what a run of a job observed of a repository.
type look struct {
	repo  image.Repository
	job   string
	since time.Time
}

// maxLooks bounds those that are remembered; one made twice costs a question to the memory.
const maxLooks = 1000

func newLosses() *losses { return &losses{looked: map[look]*sync.Once{}} }

// find looks once for what the run of an order has observed of the target repository.
func (l *losses) find(ctx context.Context, e *Engine, order mirror.Order) {
	if len(order.Observed) == 0 || e.options.Memory == nil {
		return
	}
	key := look{order.Target.Repository, order.Job, order.Since}
	l.mu.Lock()
	if len(l.looked) > maxLooks {
		clear(l.looked)
	}
	if l.looked[key] == nil {
		l.looked[key] = &sync.Once{}
	}
	once := l.looked[key]
	l.mu.Unlock()
	once.Do(func() { e.doubtLost(ctx, order) })
}

// doubtLost puts in doubt what was below the tags that do not hold what was put there.
func (e *Engine) doubtLost(ctx context.Context, order mirror.Order) {
	repo := order.Target.Repository
	holds := map[image.Digest]bool{}
	for _, d := range order.Observed {
		holds[d] = true
	}
	lost := map[image.Digest]bool{}
	for _, was := range e.memory.tagged(ctx, repo, slices.Collect(maps.Keys(order.Observed))) {
		if !holds[was] && !e.tree(ctx, was, lost, 0) { // not all of it is known any more
			e.locations.doubtAll(repo)
			e.memory.forget(ctx, repo)
			return
		}
	}
	if len(lost) > 0 {
		e.distrustParts(ctx, repo, slices.Collect(maps.Keys(lost)))
	}
}

// distrustParts puts in doubt that a repository holds the digests.
func (e *Engine) distrustParts(ctx context.Context, repo image.Repository, list []image.Digest) {
	if len(list) > 0 {
		e.locations.doubt(repo, list...)
		e.memory.forget(ctx, repo, list...)
	}
}

// doubtful tells whether the target repository may have lost something below an image, as far as that is known.
func (t *task) doubtful(ctx context.Context, root node) bool {
	below := map[image.Digest]bool{}
	for _, d := range root.digests() {
		t.tree(ctx, d, below, 1)
		below[d] = true
	}
	for d := range below {
		if t.locations.doubts(t.order.Target.Repository, d) {
			return true
		}
	}
	return false
}

// tree adds a manifest with all below it, as far as these are at hand, and tells whether they are.
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
