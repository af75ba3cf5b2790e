package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
	"github.com/draysync/dray/internal/wire"
)

// Source gives manifests and blobs.
type Source interface {
	Manifest(ctx context.Context, ref image.Reference) (image.Manifest, error)
	// OpenBlob opens a blob at an offset, in the repository or, where that does not have it, at one of the URLs.
	OpenBlob(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64, urls []string) (io.ReadCloser, error)
	// Doubt says that a blob that was opened had other bytes than its digest's.
	Doubt(d image.Digest)
}

// Artifacts tells what refers to an image: by the referrers API or its fallback, and by the tags of a repository.
type Artifacts interface {
	Referrers(ctx context.Context, repo image.Repository, d image.Digest) ([]image.Referrer, error)
	Head(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	DigestTags(ctx context.Context, repo image.Repository) ([]string, error)
}

// Target takes manifests and blobs.
type Target interface {
	PutManifest(ctx context.Context, ref image.Reference, m image.Manifest) error
	// PutBlob mounts the blob from another repository of the same registry, or streams what open returns: the bytes from an
	// offset on, again where an upload broke off there. It goes on where an earlier one was left, and sets left to where this one was.
	PutBlob(ctx context.Context, repo image.Repository, d image.Descriptor, from image.Repository, open func(offset int64) (io.ReadCloser, error), left *string) (mounted bool, err error)
}

// Presence asks a target what it has. Its errors wrap [image.ErrHidden] where the registry does not say.
type Presence interface {
	Held(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	HasBlob(ctx context.Context, repo image.Repository, d image.Descriptor) (bool, error)
}

// Options of an [Engine]. Source, Artifacts, Target, Presence and Log are required.
type Options struct {
	Source    Source
	Artifacts Artifacts
	Target    Target
	Presence  Presence
	// Metered tells whether a registry counts the manifests that are fetched, so that none is fetched only to measure.
	Metered func(registry string) bool
	// Reserve keeps pulls of a repository for the requests of the context that it returns; begun says that pulls were made for the same
	// import before. adjust changes how many are still kept, and is called with 0 in the end. nil where nothing is counted.
	Reserve func(ctx context.Context, repo image.Repository, pulls int, begun bool) (of context.Context, adjust func(pulls int))
	// Free fetches a manifest of a registry by its digest from where that is not counted; false where it cannot be had so. nil for nowhere.
	Free func(ctx context.Context, ref image.Reference) (image.Manifest, bool)
	// Saved is told of each manifest that was not fetched from its registry: "cache" where it was at hand, "mirror" where it came from
	// elsewhere; nil for nobody.
	Saved func(registry, by string)
	// Memory lasts across restarts; nil for none.
	Memory Memory
	// Now tells the time; it is required with a Memory.
	Now func() time.Time
	Log *slog.Logger
}

// Engine is the engine "copy". It is safe for concurrent use and remembers, as long as it lives, the manifests that it has
// fetched and where it has put blobs.
type Engine struct {
	options   Options
	manifests *manifestCache
	locations *blobLocations
	pushes    *pushes
	estimates *estimates
	losses    *losses
	// halves are the blobs of which a part was brought.
	halves wire.Recent[image.Reference, half]
	memory remembering
}

// New returns an engine.
func New(options Options) *Engine {
	return &Engine{
		options: options, manifests: newManifestCache(), locations: newBlobLocations(), pushes: newPushes(), estimates: newEstimates(), losses: newLosses(),
		memory: remembering{memory: options.Memory, now: options.Now, log: options.Log},
	}
}

// Size is how many facts the engine remembers of where blobs and manifests are, of some hundred bytes each.
func (e *Engine) Size() int { return e.locations.size() + e.pushes.size() }

// Name returns "copy".
func (*Engine) Name() string { return "copy" }

// Fits reports that it can make every import.
func (*Engine) Fits(context.Context, mirror.Order) (ok bool, reason string) { return true, "" }

// Resolve returns the digest that the target will hold: the source's, or, for an index of which only some platforms are
// wanted, that of the index with fewer entries. The latter needs the index itself, which is fetched once; an image of one platform needs its
// config as well.
func (e *Engine) Resolve(ctx context.Context, source image.Reference, offered image.Descriptor, platforms []image.Platform) (image.Digest, error) {
	if image.IsSchema1(offered.MediaType) {
		_, err := parse(image.Manifest{Descriptor: offered})
		return "", err
	}
	if e.metered(source.Registry) {
		e.estimates.offer(source.Repository, offered)
		e.recallSample(ctx, source.Repository, offered.Digest)
	}
	if len(platforms) == 0 {
		return offered.Digest, nil
	}
	if d, ok := e.memory.selected(ctx, offered.Digest, platforms); ok {
		return d, nil
	}
	m, _, err := e.fetch(ctx, source)
	if err != nil {
		return "", err
	}
	selected := m
	if image.IsIndex(m.MediaType) {
		selected, err = selectPlatforms(m, platforms)
	} else {
		err = e.admit(ctx, source, m, platforms)
	}
	if err == nil {
		e.memory.putSelected(ctx, offered.Digest, platforms, selected.Digest)
	}
	return selected.Digest, err
}

// fetch returns a manifest of the source by its digest, from memory where it was fetched before, also by another process. It
// tells whether it was fetched now, which may have cost a pull.
func (e *Engine) fetch(ctx context.Context, source image.Reference) (m image.Manifest, pulled bool, err error) {
	by := "cache"
	m, pulled, err = e.manifests.get(ctx, source, func() (image.Manifest, bool, error) {
		if m, ok := e.memory.manifest(ctx, source.Digest); ok {
			return m, false, nil
		}
		m, err := e.options.Source.Manifest(ctx, source.Repository.Digest(source.Digest))
		if m.Via != "" {
			by = "mirror"
		}
		return m, m.Via == "", err
	})
	if err != nil {
		return m, pulled, mirror.At(mirror.Source, source, fmt.Errorf("manifest: %w", err))
	}
	if !pulled {
		e.saved(source.Registry, by)
	}
	return m, pulled, nil
}

// Manifest returns a manifest of any registry by its digest: from memory, and else from where it costs least.
func (e *Engine) Manifest(ctx context.Context, ref image.Reference) (image.Manifest, error) {
	if e.metered(ref.Registry) && !e.atHand(ctx, ref.Digest) {
		e.free(ctx, ref)
	}
	m, _, err := e.fetch(ctx, ref)
	if sided, ok := errors.AsType[*mirror.SideError](err); ok {
		err = sided.Err // which side it is the caller knows
	}
	return m, err
}

func (e *Engine) saved(registry, by string) {
	if e.options.Saved != nil {
		e.options.Saved(registry, by)
	}
}

// free fetches a manifest where that is not counted, and keeps it.
func (e *Engine) free(ctx context.Context, source image.Reference) bool {
	if e.options.Free == nil {
		return false
	}
	m, ok := e.options.Free(ctx, source)
	if ok {
		e.manifests.put(m)
		e.saved(source.Registry, "mirror")
	}
	return ok
}

// Measure returns the manifests that an import would fetch and the most bytes that it would move. Blobs that several imports
// bring into one repository are counted for the first that is measured.
func (e *Engine) Measure(ctx context.Context, order mirror.Order) (mirror.Cost, error) {
	if order.HeldAs != "" {
		return mirror.Cost{}, nil
	}
	m := measuring{Engine: e, order: order}
	root, err := m.one(ctx, order.Source)
	if err != nil {
		return m.cost, err
	}
	if len(order.Platforms) > 0 && image.IsIndex(root.manifest.MediaType) {
		selected, err := selectPlatforms(root.manifest, order.Platforms)
		if err != nil {
			return m.cost, err
		}
		if root, err = parse(selected); err != nil {
			return m.cost, err
		}
	}
	return m.cost, m.below(ctx, root, 1)
}

// metered tells whether a registry counts the manifests that are fetched.
func (e *Engine) metered(registry string) bool {
	return e.options.Metered != nil && e.options.Metered(registry)
}

// atHand tells whether a manifest was fetched before, also by another process.
func (e *Engine) atHand(ctx context.Context, d image.Digest) bool {
	_, ok := e.known(ctx, d)
	return ok
}
