package transfer

import (
	"context"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// places remembers which repository of a target holds what, as far as a registry has confirmed it, and keeps two imports
// from bringing one blob to one registry at the same time. What it remembers may be wrong later: a registry may have
// collected its garbage. That costs a request, never a wrong result, because a registry refuses a manifest whose blobs are
// missing.
type places struct {
	mu        sync.Mutex
	held      map[image.Repository]map[image.Digest]struct{}
	blobs     map[spot]image.Repository // one repository of the registry that holds the blob
	flights   map[flight]chan struct{}
	measured  map[image.Repository]map[image.Digest]struct{}
	forgotten map[image.Repository]bool // repositories whose memory proved wrong
}

// spot is a blob at a registry.
type spot struct {
	registry string
	digest   image.Digest
}

// flight is a blob on its way: to a registry that has it nowhere, or, with a repository, to that one.
type flight struct {
	spot
	repository string
}

func newPlaces() *places {
	return &places{
		held:      map[image.Repository]map[image.Digest]struct{}{},
		blobs:     map[spot]image.Repository{},
		flights:   map[flight]chan struct{}{},
		measured:  map[image.Repository]map[image.Digest]struct{}{},
		forgotten: map[image.Repository]bool{},
	}
}

// claim waits until the blob is in the repository, or until the caller has to bring it there: then done has to be called at
// the end, and from is another repository of the registry that holds the blob, if one is known.
func (p *places) claim(ctx context.Context, repo image.Repository, d image.Digest) (from image.Repository, done func(arrived bool), err error) {
	where := spot{repo.Registry, d}
	if repo.IsLayout() {
		where.registry = repo.String()
	}
	for {
		p.mu.Lock()
		if _, ok := p.held[repo][d]; ok {
			p.mu.Unlock()
			return image.Repository{}, nil, nil
		}
		from, known := p.blobs[where]
		key := flight{spot: where}
		if known {
			key.repository = repo.Path
		}
		under, busy := p.flights[key]
		if !busy {
			ended := make(chan struct{})
			p.flights[key] = ended
			p.mu.Unlock()
			return from, func(arrived bool) { p.end(key, ended, repo, d, arrived) }, nil
		}
		p.mu.Unlock()
		select {
		case <-under:
		case <-ctx.Done():
			return image.Repository{}, nil, ctx.Err()
		}
	}
}

func (p *places) end(key flight, ended chan struct{}, repo image.Repository, d image.Digest, arrived bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flights, key)
	close(ended)
	if arrived {
		p.note(repo, d)
		p.blobs[key.spot] = repo
	}
}

// note remembers that the repository holds a blob or a manifest. The lock is held.
func (p *places) note(repo image.Repository, d image.Digest) {
	if p.held[repo] == nil {
		p.held[repo] = map[image.Digest]struct{}{}
	}
	p.held[repo][d] = struct{}{}
}

// arrived remembers that the repository holds a manifest, with all below it.
func (p *places) arrived(repo image.Repository, d image.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(repo, d)
}

func (p *places) has(repo image.Repository, d image.Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.held[repo][d]
	return ok
}

// forget drops what is remembered of a repository, after it has refused a manifest for a blob that it was thought to hold.
func (p *places) forget(repo image.Repository) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, repo)
	p.forgotten[repo] = true
	for where, holder := range p.blobs {
		if holder == repo {
			delete(p.blobs, where)
		}
	}
}

// doubtful tells whether the memory of the repository has proved wrong once.
func (p *places) doubtful(repo image.Repository) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.forgotten[repo]
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
