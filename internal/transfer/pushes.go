package transfer

import (
	"context"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// pushes keeps two imports from writing one manifest at once: to one registry, before it is there, and by its digest to one repository at
// any time. The distribution project's registry writes contents and links in place and reads them meanwhile for others, who then are told
// that the manifest is not there, or has other bytes. Contents that are there it does not write again.
type pushes struct {
	mu       sync.Mutex
	underWay map[push]chan struct{}
	done     map[push]struct{}
}

// push is a manifest on its way to a place or to a repository.
type push struct {
	where  string
	digest image.Digest
}

func newPushes() *pushes {
	return &pushes{underWay: map[push]chan struct{}{}, done: map[push]struct{}{}}
}

// first waits while another import writes the manifest to the registry, or the layout, of a repository for the first time.
func (p *pushes) first(ctx context.Context, repo image.Repository, d image.Digest) (ended func(arrived bool), err error) {
	return p.turn(ctx, push{"first " + placeOf(repo), d})
}

// alone waits while another import writes the manifest to the repository.
func (p *pushes) alone(ctx context.Context, repo image.Repository, d image.Digest) (ended func(), err error) {
	end, err := p.turn(ctx, push{repo.String(), d})
	if err != nil {
		return nil, err
	}
	return func() { end(false) }, nil
}

// turn waits until nobody else has the key. Once somebody has said that it arrived, nobody waits for it any more.
func (p *pushes) turn(ctx context.Context, key push) (ended func(arrived bool), err error) {
	for {
		p.mu.Lock()
		if _, ok := p.done[key]; ok {
			p.mu.Unlock()
			return func(bool) {}, nil
		}
		other, busy := p.underWay[key]
		if !busy {
			mine := make(chan struct{})
			p.underWay[key] = mine
			p.mu.Unlock()
			return func(arrived bool) { p.end(key, mine, arrived) }, nil
		}
		p.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *pushes) end(key push, mine chan struct{}, arrived bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.underWay, key)
	if arrived {
		p.done[key] = struct{}{}
	}
	close(mine)
}

func (p *pushes) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.done)
}
