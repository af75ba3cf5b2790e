package transfer

import (
	"context"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// pushes keeps two imports from writing one manifest at once: to one registry, before it is there, and by its digest to one repository at
// any time; and an index from being written while one of its children is, by digest or by tag. The distribution project's registry writes
// contents and links in place and reads them meanwhile for others, who then are told that a manifest is not there, or has other bytes.
// Contents that are there it does not write again.
type pushes struct {
	mu       sync.Mutex
	underWay map[push]*turn
	done     map[push]struct{}
}

// push is a manifest on its way to a mount scope or to a repository.
type push struct {
	where  string
	digest image.Digest
}

// turn is what is being done with a manifest, and by how many.
type turn struct {
	use   use
	users int
	ended chan struct{}
}

// use is what an import does with a manifest. Uses of one kind go together, but for the first.
type use int

const (
	writing use = iota
	tagging
	referring
)

func newPushes() *pushes {
	return &pushes{underWay: map[push]*turn{}, done: map[push]struct{}{}}
}

// begin waits until a manifest may be written to a repository, under a tag or not. What it needs it takes all at once, so that no two
// wait for each other.
func (p *pushes) begin(ctx context.Context, ref image.Reference, n node) (ended func(arrived bool), err error) {
	digest, repo := n.manifest.Digest, ref.Repository.String()
	first := push{"first " + scopeOf(ref.Repository), digest}
	wanted := map[push]use{{repo, digest}: writing, first: writing}
	if ref.Tag != "" {
		wanted[push{repo, digest}] = tagging
	}
	for _, c := range n.children {
		wanted[push{repo, c.Digest}] = referring
	}
	for {
		other := p.take(wanted, first)
		if other == nil {
			return func(arrived bool) { p.end(wanted, first, arrived) }, nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take takes all that is wanted, or returns what has to end before. Once a first write has arrived nobody waits for it any more.
func (p *pushes) take(wanted map[push]use, first push) (other <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.done[first]; ok {
		delete(wanted, first)
	}
	for key, use := range wanted {
		if t := p.underWay[key]; t != nil && (t.use != use || use == writing) {
			return t.ended
		}
	}
	for key, use := range wanted {
		if p.underWay[key] == nil {
			p.underWay[key] = &turn{use: use, ended: make(chan struct{})}
		}
		p.underWay[key].users++
	}
	return nil
}

func (p *pushes) end(taken map[push]use, first push, arrived bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range taken {
		t := p.underWay[key]
		if t.users--; t.users == 0 {
			delete(p.underWay, key)
			close(t.ended)
		}
	}
	if arrived {
		p.done[first] = struct{}{}
	}
}

func (p *pushes) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.done)
}
