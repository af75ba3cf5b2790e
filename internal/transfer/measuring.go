package transfer

import (
	"context"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// measuring adds up what one import would take.
type measuring struct {
	*Engine
	order  mirror.Order
	cost   mirror.Cost
	visits visits
}

// below adds up the entries of an index, and those of the indexes among them.
func (m *measuring) below(ctx context.Context, n node, depth int) error {
	for _, c := range n.children {
		first, err := m.visits.first(c.Digest, depth)
		if err != nil {
			return mirror.At(mirror.Source, m.order.Source, err)
		}
		if !first {
			continue
		}
		if err := m.entry(ctx, c, depth); err != nil {
			return err
		}
	}
	return nil
}

// entry adds up one entry of an index, and what is below it. An entry that may be a blob counts as one if it is not available as a
// manifest.
func (m *measuring) entry(ctx context.Context, c child, depth int) error {
	kind := image.KindOf(c.MediaType)
	if kind == image.LikelyBlobs {
		m.blobs([]blob{{Descriptor: c.Descriptor}})
		return nil
	}
	m.estimates.offer(m.order.Source.Repository, c.Descriptor)
	if c.data != nil && c.MediaType != "" {
		m.manifests.put(image.Manifest{Descriptor: c.Descriptor, Raw: c.data})
	}
	n, err := m.one(ctx, m.order.Source.Repository.Digest(c.Digest))
	switch {
	case kind == image.LikelyManifests && otherKind(ctx, err), kind == image.LikelyManifests && n.manifest.Raw != nil && !isManifest(n.manifest.Raw):
		m.blobs([]blob{{Descriptor: c.Descriptor}})
		return nil
	case err != nil:
		return err
	}
	return m.below(ctx, n, depth+1)
}

// one adds up one manifest and its own blobs. A manifest of a metered registry that is not cached is counted, not fetched: its blobs stay
// unknown, and its children are guessed.
func (m *measuring) one(ctx context.Context, source image.Reference) (node, error) {
	if m.metered(source.Registry) && !m.atHand(ctx, source.Digest) && !m.free(ctx, source) {
		if !m.measureUnseen(ctx, m.order, source, &m.cost) {
			return node{}, nil
		}
	}
	fetched, pulled, err := m.fetch(ctx, source)
	if err != nil {
		return node{}, err
	}
	if pulled {
		m.cost.Pulls++
	}
	n, err := parse(fetched)
	if err != nil {
		return n, mirror.At(mirror.Source, source, err)
	}
	m.estimates.learn(source.Repository, n)
	if m.order.ForeignLayers {
		n.blobs = append(n.blobs, n.foreign...)
	}
	m.blobs(n.blobs)
	return n, nil
}

func (m *measuring) blobs(list []blob) {
	for _, d := range list {
		if m.locations.measure(m.order.Target.Repository, d.Digest) {
			m.cost.Bytes += d.Size
		}
	}
}
