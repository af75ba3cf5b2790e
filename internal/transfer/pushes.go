package transfer

import (
	"context"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// pushes serialize two imports that write one manifest: to one registry, until it is there, and by digest to one repository, always; also
// an index and one of its children, by digest or by tag. The distribution project's registry writes contents and links in place and reads
// them meanwhile, so that others get a 404, or wrong bytes. It does not write existing contents again.
type pushes struct {
	mu       sync.Mutex
	underWay map[push]*turn
	done     map[push]struct{}
}

// push is a write of a manifest to a mount scope or to a repository.
type push struct {
	where  string
	digest image.Digest
}

// turn is the use of a manifest under way, with the number of its users.
type turn struct {
	use   use
	users int
	ended chan struct{}
}

// use is what an import does with a manifest. Uses of one kind can run together, except the first write.
type use int

const (
	writing use = iota
	tagging
	referring
)

func newPushes() *pushes {
	return &pushes{underWay: map[push]*turn{}, done: map[push]struct{}{}}
}

// begin waits until a manifest may be written to a repository, under a tag or not. It takes all that it needs at once, so that no two
// imports deadlock.
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

// take takes all that is wanted, or returns what must end first. After a first write has succeeded, no one waits for it any more.
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
