package transfer

import (
	"context"
	"fmt"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// maxBelow limits the manifests of one image, with its attachments: far above anything real.
const maxBelow = 10_000

// visits bounds a walk over the manifests below one. An index whose thousand entries are all one index of a thousand entries, and so on,
// has four manifests and a billion paths.
type visits struct {
	mu   sync.Mutex
	seen map[image.Digest]struct{}
	made map[image.Digest]*visit
}

// visit is a visit that is under way, or its result.
type visit struct {
	ended chan struct{}
	err   error
}

// first reports whether a manifest was not visited before; depth is its nesting.
func (v *visits) first(d image.Digest, depth int) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.seen[d]; ok {
		return false, nil
	}
	if depth > image.MaxNesting {
		return false, fmt.Errorf("the indexes of it lie more than %d deep in one another", image.MaxNesting)
	}
	if len(v.seen) >= maxBelow {
		return false, fmt.Errorf("it has more than %d manifests", maxBelow)
	}
	if v.seen == nil {
		v.seen = map[image.Digest]struct{}{}
	}
	v.seen[d] = struct{}{}
	return true, nil
}

// once calls f for a manifest. Other callers for the same manifest wait for its result, unless it is only that a context ended.
func (v *visits) once(ctx context.Context, d image.Digest, f func() error) error {
	for {
		v.mu.Lock()
		if v.made == nil {
			v.made = map[image.Digest]*visit{}
		}
		other, busy := v.made[d]
		if !busy {
			mine := &visit{ended: make(chan struct{})}
			v.made[d] = mine
			v.mu.Unlock()
			return v.make(d, mine, f)
		}
		v.mu.Unlock()
		select {
		case <-other.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !contextEnded(other.err) {
			return other.err
		}
	}
}

func (v *visits) make(d image.Digest, mine *visit, f func() error) error {
	mine.err = f()
	if contextEnded(mine.err) {
		v.mu.Lock()
		delete(v.made, d)
		v.mu.Unlock()
	}
	close(mine.ended)
	return mine.err
}
