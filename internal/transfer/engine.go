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
	"github.com/draysync/dray/internal/worktime"
)

// Source reads manifests and blobs.
type Source interface {
	Manifest(ctx context.Context, ref image.Reference) (image.Manifest, error)
	// OpenBlob opens a blob at an offset, in the repository, or at one of the URLs if the repository lacks it.
	OpenBlob(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64, urls []string) (io.ReadCloser, error)
	// Doubt reports that the bytes of an opened blob did not match its digest.
	Doubt(d image.Digest)
}

// Artifacts finds what refers to an image: by the referrers API or its fallback, and by the tags of a repository.
type Artifacts interface {
	Referrers(ctx context.Context, repo image.Repository, d image.Digest) ([]image.Referrer, error)
	Head(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	DigestTags(ctx context.Context, repo image.Repository) ([]string, error)
}

// Target writes manifests and blobs.
type Target interface {
	PutManifest(ctx context.Context, ref image.Reference, m image.Manifest) error
	// PutBlob mounts the blob from another repository of the same registry, or streams what open returns: the bytes from an offset on,
	// again after a break. It resumes an earlier upload at left, and sets left to where this one stopped.
	PutBlob(ctx context.Context, repo image.Repository, d image.Descriptor, from image.Repository, open func(offset int64) (io.ReadCloser, error), left *string) (mounted bool, err error)
}

// Presence asks a target what it has. Its errors wrap [image.ErrHidden] if the registry does not say.
type Presence interface {
	Held(ctx context.Context, ref image.Reference) (image.Descriptor, error)
	HasBlob(ctx context.Context, repo image.Repository, d image.Descriptor) (bool, error)
}

// Holds gives one of several processes the sole right to do something now.
type Holds interface {
	// Hold waits until no other does it, or has done so for too long; before it waits it calls waits. An error says that others may be doing it.
	Hold(ctx context.Context, what string, waits func()) (done func(), err error)
	// Permit waits until no other writes a tag, and lets this process do so for a job of its own; waited is set if another did. The error is
	// record.ErrLost if it is not its own any more.
	Permit(ctx context.Context, job, tag string) (done func(), waited bool, err error)
	// Brought returns a repository, of the registry of another, into which some process has lately brought a blob; the other itself if possible. A
	// manifest may not be committed there yet. It returns false if none is known.
	Brought(ctx context.Context, repo image.Repository, d image.Digest) (holder image.Repository, ok bool, err error)
}

// Options of an [Engine]. Source, Artifacts, Target, Presence and Log are required.
type Options struct {
	Source    Source
	Artifacts Artifacts
	Target    Target
	Presence  Presence
	// Metered reports whether a registry counts fetched manifests, so that none is fetched only to measure.
	Metered func(registry string) bool
	// Reserve reserves pulls of a repository for the requests of the returned context; begun says that the import has made pulls before.
	// adjust changes the number still reserved, and is called with 0 in the end. nil if nothing is counted.
	Reserve func(ctx context.Context, repo image.Repository, pulls int, begun bool) (of context.Context, adjust func(pulls int))
	// Idle returns what is reserved for the requests of a context, until resume is called. Required with Holds.
	Idle func(ctx context.Context) (resume func())
	// Free fetches a manifest by digest from where that does not count; false if that is not possible. nil for never.
	Free func(ctx context.Context, ref image.Reference) (image.Manifest, bool)
	// Saved is called for each manifest that was not fetched from its registry: "cache" for a cached one, "mirror" for one from elsewhere;
	// nil for none.
	Saved func(registry, by string)
	// Memory lasts across restarts; nil for none.
	Memory Memory
	// Holds are shared with other processes that share the memory; nil where there are none.
	Holds Holds
	// Now returns the time; required with a Memory.
	Now func() time.Time
	Log *slog.Logger
}

// Engine is the engine "copy". It is safe for concurrent use. While it lives, it remembers fetched manifests and the locations of blobs.
type Engine struct {
	options   Options
	manifests *manifestCache
	locations *blobLocations
	pushes    *pushes
	estimates *estimates
	losses    *losses
	// halves are interrupted uploads of blobs.
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

// Size returns how many locations of blobs and manifests the engine remembers, each of some hundred bytes.
func (e *Engine) Size() int { return e.locations.size() + e.pushes.size() }

// Name returns "copy".
func (*Engine) Name() string { return "copy" }

// Fits reports that it can make every import.
func (*Engine) Fits(context.Context, mirror.Order) (ok bool, reason string) { return true, "" }

// Resolve returns the digest that the target will hold: the source's, or that of the index reduced to the wanted platforms. The latter
// needs the index itself, which is fetched once; an image of one platform needs its config as well. If the source has only some of the
// platforms, it returns the digest of what there is together with a *mirror.RefusedError that names the others.
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
	var short error
	if image.IsIndex(m.MediaType) {
		selected, short, err = selectPlatforms(m, platforms)
	} else {
		short, err = e.admit(ctx, source, m, platforms)
	}
	if err != nil {
		return "", err
	}
	if short == nil {
		e.memory.putSelected(ctx, offered.Digest, platforms, selected.Digest)
	}
	return selected.Digest, short
}

// Resolved returns what Resolve has returned for a digest, in any process that shares the store.
func (e *Engine) Resolved(ctx context.Context, offered image.Digest, platforms []image.Platform) (image.Digest, bool) {
	if len(platforms) == 0 {
		return offered, true
	}
	return e.memory.selected(ctx, offered, platforms)
}

// fetch returns a manifest of the source by digest, from the cache if it was fetched before, perhaps by another process. It reports whether
// it was fetched now, which may have cost a pull. A tag in source is that of the digest: see [registry.Client.Manifest].
func (e *Engine) fetch(ctx context.Context, source image.Reference) (m image.Manifest, pulled bool, err error) {
	by := "cache"
	m, pulled, err = e.manifests.get(ctx, source, func() (image.Manifest, bool, error) {
		if m, ok := e.memory.manifest(ctx, source.Digest); ok {
			return m, false, nil
		}
		done, m, ok := e.soleFetch(ctx, source)
		defer done()
		if ok {
			return m, false, nil
		}
		m, err := e.options.Source.Manifest(ctx, source)
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

// soleFetch waits until no other process fetches a manifest that counts, and returns it if one has; done is to be called after the fetch. Meanwhile
// it leaves the reserved pulls to the others: who fetches may be waiting for them.
func (e *Engine) soleFetch(ctx context.Context, source image.Reference) (done func(), m image.Manifest, ok bool) {
	if e.options.Holds == nil || !e.metered(source.Registry) {
		return func() {}, m, false
	}
	resume, waited := func() {}, func() {}
	done, err := e.options.Holds.Hold(ctx, "manifest "+string(source.Digest), func() {
		resume, waited = e.options.Idle(ctx), worktime.Wait(ctx)
	})
	waited()
	resume()
	if err != nil { // better twice than never
		e.memory.heed(ctx, err)
		done = func() {}
	}
	m, ok = e.memory.manifest(ctx, source.Digest)
	return done, m, ok
}

// Manifest returns a manifest of any registry by digest, from the cache or from where it costs least.
func (e *Engine) Manifest(ctx context.Context, ref image.Reference) (image.Manifest, error) {
	if e.metered(ref.Registry) && !e.atHand(ctx, ref.Digest) {
		e.free(ctx, ref)
	}
	m, _, err := e.fetch(ctx, ref)
	if sided, ok := errors.AsType[*mirror.SideError](err); ok {
		err = sided.Err // the caller knows the side
	}
	return m, err
}

// Given returns an error unless a source gives the manifest that it named, such as an [image.MovedError]. It fetches it, but where manifests are counted
// a HEAD is enough.
func (e *Engine) Given(ctx context.Context, source image.Reference) error {
	if e.metered(source.Registry) && !e.atHand(ctx, source.Digest) {
		if _, err := e.options.Artifacts.Head(ctx, source.Repository.Digest(source.Digest)); err == nil {
			return nil
		}
	}
	_, err := e.Manifest(ctx, source)
	return err
}

func (e *Engine) saved(registry, by string) {
	if e.options.Saved != nil {
		e.options.Saved(registry, by)
	}
}

// free fetches a manifest from where that does not count, and caches it.
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

// Measure returns the number of manifests that an import would fetch, and the most bytes that it would copy. Blobs that several imports
// copy into one repository count for the first that is measured.
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
		selected, _, err := selectPlatforms(root.manifest, order.Platforms)
		if err != nil {
			return m.cost, err
		}
		if root, err = parse(selected); err != nil {
			return m.cost, err
		}
	}
	return m.cost, m.below(ctx, root, 1)
}

// metered reports whether a registry counts fetched manifests.
func (e *Engine) metered(registry string) bool {
	return e.options.Metered != nil && e.options.Metered(registry)
}

// atHand reports whether a manifest was fetched before, perhaps by another process.
func (e *Engine) atHand(ctx context.Context, d image.Digest) bool {
	_, ok := e.known(ctx, d)
	return ok
}
