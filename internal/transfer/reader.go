package transfer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/plan"
)

// reader reads an image at its source: its manifests, which may cost pulls, and its attachments.
type reader struct {
	*Engine
	source    image.Reference
	platforms []image.Platform
	wanted    plan.Referrers
	// foreign counts layers by URLs among the blobs.
	foreign bool
	pulls   atomic.Int64
}

func (e *Engine) newReader(order mirror.Order) *reader {
	return &reader{Engine: e, source: order.Source, platforms: order.Platforms, wanted: order.Referrers, foreign: order.ForeignLayers}
}

// root returns the manifest that the tag will hold. If the target repository has the image, it is read there, which costs no pull.
func (r *reader) root(ctx context.Context, want image.Digest, target *inventory) (node, error) {
	if target.hasImage && !r.manifests.has(want) {
		m, err := r.options.Source.Manifest(ctx, target.repo.Digest(want))
		if err == nil {
			return r.parse(m)
		}
		target.hasImage = false // gone meanwhile: copy it again
	}
	m, err := r.manifest(ctx, r.source)
	if err != nil {
		return node{}, err
	}
	if len(r.platforms) > 0 && image.IsIndex(m.MediaType) {
		if m, _, err = selectPlatforms(m, r.platforms); err != nil {
			return node{}, mirror.At(mirror.Source, r.source, err)
		}
	}
	if m.Digest != want {
		return node{}, mirror.At(mirror.Source, r.source, fmt.Errorf("the manifest has digest %s, the plan has %s: %w", m.Digest, want, image.ErrCorrupt))
	}
	n, err := r.parse(m)
	return n, mirror.At(mirror.Source, r.source, err)
}

// parse reads a manifest. Foreign layers are among its blobs only if the mapping asks for them.
func (r *reader) parse(m image.Manifest) (node, error) {
	n, err := parse(m)
	if r.foreign {
		n.blobs = append(n.blobs, n.foreign...)
	}
	return n, err
}

// manifest fetches a manifest of the source and counts the pull.
func (r *reader) manifest(ctx context.Context, ref image.Reference) (image.Manifest, error) {
	m, pulled, err := r.fetch(ctx, ref)
	if pulled {
		r.pulls.Add(1)
	}
	return m, err
}

// child returns an entry of an index, from the index if it is inline there.
func (r *reader) child(ctx context.Context, c child) (image.Manifest, error) {
	if c.data != nil && c.MediaType != "" {
		return image.Manifest{Descriptor: c.Descriptor, Raw: c.data}, nil
	}
	return r.manifest(ctx, r.source.Repository.Digest(c.Digest))
}

// open opens a blob at an offset.
func (r *reader) open(ctx context.Context, from image.Repository, d blob, offset int64) (io.ReadCloser, error) {
	if d.data != nil {
		return io.NopCloser(bytes.NewReader(d.data[min(offset, d.Size):])), nil
	}
	if from != r.source.Repository {
		// Reading at another target is optional: one that hangs must not delay this import.
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer time.AfterFunc(patience, cancel).Stop()
	}
	body, err := r.options.Source.OpenBlob(ctx, from, d.Descriptor, offset, d.urls)
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	return body, nil
}

// expected returns how many pulls an import will probably take, and whether one was made for it before.
func (r *reader) expected(ctx context.Context, target *inventory) (pulls int, begun bool) {
	m, known := r.known(ctx, r.source.Digest)
	if !known {
		return 1 + r.children(ctx, target.was, target.sibling), false
	}
	if len(r.platforms) > 0 && image.IsIndex(m.MediaType) {
		if kept, _, err := selectPlatforms(m, r.platforms); err == nil {
			m = kept
		}
	}
	if n, err := parse(m); err == nil {
		pulls = r.missing(ctx, n, target)
	}
	return pulls, true
}

// fewChildren is the assumed number of manifests in an index of a repository without samples.
const fewChildren = 2

// children guesses how many manifests below an unfetched image have to be fetched; samples are other manifests that may be cached.
func (r *reader) children(ctx context.Context, samples ...image.Digest) int {
	repo := r.source.Repository
	r.recallSample(ctx, repo, samples...)
	g := r.estimates.guess(repo, r.source.Digest)
	if !g.exact && !r.estimates.sampled(repo) {
		g.children = fewChildren
	}
	if wanted := len(r.platforms); wanted > 0 {
		g.children = min(g.children, wanted)
	}
	return g.children
}

// missing returns how many manifests directly below one have to be fetched.
func (r *reader) missing(ctx context.Context, n node, target *inventory) int {
	r.estimates.learn(r.source.Repository, n)
	missing := 0
	for _, c := range n.children {
		if image.KindOf(c.MediaType) != image.LikelyBlobs && !target.remembers(c.Digest) && !r.atHand(ctx, c.Digest) {
			missing++
		}
	}
	return missing
}
