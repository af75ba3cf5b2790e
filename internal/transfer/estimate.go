package transfer

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// estimates guess the number of entries of an index that was not fetched, since a fetch would cost a pull. Indexes of one repository with
// equal sizes have equally many entries; otherwise the number grows with the size.
type estimates struct {
	sampling singleflight.Group

	mu sync.Mutex
	// offered are the descriptors that registries have reported, by repository and digest.
	offered map[image.Reference]image.Descriptor
	samples map[image.Repository][]sample
	// counted are the manifests that a plan has counted.
	counted map[image.Digest]struct{}
}

// sample is an index that was read.
type sample struct {
	size     int64
	children int
}

// The limits of what is remembered, and about how many bytes an index has besides its entries.
const (
	maxOffered       = 50_000
	maxSamples       = 16
	maxSampled       = 10_000
	indexBase  int64 = 100
	// nearBy is the fraction of an index's size by which similar indexes may differ, which probably have as many entries.
	nearBy = 10
)

func newEstimates() *estimates {
	return &estimates{offered: map[image.Reference]image.Descriptor{}, samples: map[image.Repository][]sample{}, counted: map[image.Digest]struct{}{}}
}

// offer records the descriptor that a repository has under a digest.
func (e *estimates) offer(repo image.Repository, d image.Descriptor) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.offered) >= maxOffered {
		clear(e.offered)
	}
	e.offered[repo.Digest(d.Digest)] = d
}

// learn records an index as a sample of its repository.
func (e *estimates) learn(repo image.Repository, n node) {
	size := int64(len(n.manifest.Raw))
	if !image.IsIndex(n.manifest.MediaType) || size <= indexBase {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.samples[repo]
	if slices.Contains(list, sample{size, len(n.children)}) {
		return
	}
	if len(e.samples) >= maxSampled {
		clear(e.samples)
	}
	e.samples[repo] = append(list[max(0, len(list)-maxSamples+1):], sample{size, len(n.children)})
}

// guessed is the probable number of manifests below an index.
type guessed struct {
	children int
	// exact says that the number is certain, near that an index of similar size was read.
	exact, near bool
}

// guess returns the probable number of manifests below one.
func (e *estimates) guess(repo image.Repository, d image.Digest) guessed {
	e.mu.Lock()
	defer e.mu.Unlock()
	offered, known := e.offered[repo.Digest(d)]
	if known && !image.IsIndex(offered.MediaType) {
		return guessed{exact: true, near: true}
	}
	list := e.samples[repo]
	if len(list) == 0 {
		return guessed{}
	}
	nearest := list[len(list)-1]
	if !known || offered.Size <= indexBase {
		return guessed{children: nearest.children}
	}
	for _, s := range list {
		if distance(s.size, offered.Size) < distance(nearest.size, offered.Size) {
			nearest = s
		}
	}
	scale := float64(offered.Size-indexBase) / float64(nearest.size-indexBase)
	children := int(math.Round(float64(nearest.children) * scale))
	return guessed{children: children, near: isNear(nearest.size, offered.Size)}
}

// alike returns other indexes of the repository with similar sizes, the most similar first.
func (e *estimates) alike(repo image.Repository, d image.Digest) []image.Descriptor {
	e.mu.Lock()
	defer e.mu.Unlock()
	size := e.offered[repo.Digest(d)].Size
	var list []image.Descriptor
	for ref, other := range e.offered {
		if ref.Repository == repo && other.Digest != d && size > indexBase && image.IsIndex(other.MediaType) && isNear(other.Size, size) {
			list = append(list, other)
		}
	}
	slices.SortFunc(list, func(a, b image.Descriptor) int {
		return cmp.Or(cmp.Compare(distance(a.Size, size), distance(b.Size, size)), cmp.Compare(a.Digest, b.Digest))
	})
	return list[:min(len(list), maxSamples)]
}

// sampled reports whether an index of the repository was read.
func (e *estimates) sampled(repo image.Repository) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.samples[repo]) > 0
}

func distance(a, b int64) int64 { return max(a-b, b-a) }

// isNear reports whether the number of entries of one index predicts that of another with this size.
func isNear(sample, size int64) bool { return distance(sample, size) <= sample/nearBy }

// first reports whether no plan has counted a manifest yet.
func (e *estimates) first(d image.Digest) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.counted[d]; ok {
		return false
	}
	if len(e.counted) >= maxOffered {
		clear(e.counted)
	}
	e.counted[d] = struct{}{}
	return true
}

// measureUnseen counts a manifest of a metered registry that was not fetched. If no index of similar size was read in its repository, it
// fetches this one, which the sync can then use, and reports that; others are guessed from it.
func (e *Engine) measureUnseen(ctx context.Context, order mirror.Order, source image.Reference, cost *mirror.Cost) (fetched bool) {
	repo := source.Repository
	g := e.estimates.guess(repo, source.Digest)
	if !g.near {
		e.recallSample(ctx, repo, order.Was, order.Sibling)
		g = e.estimates.guess(repo, source.Digest)
	}
	if !g.near {
		if e.sample(ctx, source) {
			return true
		}
		g = e.estimates.guess(repo, source.Digest)
	}
	cost.Unknown = true
	if e.estimates.first(source.Digest) {
		cost.Pulls += 1 + g.children
		cost.About = cost.About || !g.exact
	}
	return false
}

// sample fetches an index as a sample of its repository, unless another one that is as similar was fetched meanwhile, or costs no pull.
func (e *Engine) sample(ctx context.Context, source image.Reference) bool {
	got, err, _ := e.estimates.sampling.Do(source.Repository.String(), func() (any, error) {
		if e.estimates.guess(source.Repository, source.Digest).near {
			return image.Digest(""), nil
		}
		if e.freeSample(ctx, source) {
			return image.Digest(""), nil
		}
		m, _, err := e.fetch(ctx, source)
		if n, parseErr := parse(m); err == nil && parseErr == nil {
			e.estimates.learn(source.Repository, n)
		}
		return m.Digest, err
	})
	return err == nil && got == source.Digest
}

// freeSample fetches a similar index as a sample from where pulls do not count; false if there is none. It tries several, since the first
// may exist only at its registry.
func (e *Engine) freeSample(ctx context.Context, source image.Reference) bool {
	for _, d := range e.estimates.alike(source.Repository, source.Digest) {
		if !e.atHand(ctx, d.Digest) && !e.free(ctx, source.Repository.Digest(d.Digest)) {
			continue
		}
		e.learnKnown(ctx, source.Repository, d.Digest)
		if e.estimates.guess(source.Repository, source.Digest).near {
			return true
		}
	}
	return false
}

// recallSample uses one of some manifests that were fetched before as a sample of the repository, if there is none yet.
func (e *Engine) recallSample(ctx context.Context, repo image.Repository, digests ...image.Digest) {
	for _, d := range digests {
		if d != "" && !e.estimates.sampled(repo) {
			e.learnKnown(ctx, repo, d)
		}
	}
}

// learnKnown uses a manifest that was fetched before as a sample of the repository.
func (e *Engine) learnKnown(ctx context.Context, repo image.Repository, d image.Digest) {
	if m, ok := e.known(ctx, d); ok {
		if n, err := parse(m); err == nil {
			e.estimates.learn(repo, n)
		}
	}
}

// known returns a manifest that was fetched before, perhaps by another process.
func (e *Engine) known(ctx context.Context, d image.Digest) (image.Manifest, bool) {
	if m, ok := e.manifests.lookup(d); ok {
		return m, true
	}
	return e.memory.manifest(ctx, d)
}
