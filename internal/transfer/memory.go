package transfer

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// Manifests has fetched manifests, also from before a restart. Whoever fetches a manifest stores it.
type Manifests interface {
	Manifest(ctx context.Context, d image.Digest) (image.Manifest, bool, error)
}

// Whereabouts stores the locations of blobs and manifests across restarts, as confirmed by registries.
type Whereabouts interface {
	// BlobHolders returns repositories of a registry that hold a blob.
	BlobHolders(ctx context.Context, registry string, d image.Digest) ([]image.Repository, error)
	// Holds returns which of the digests the repository holds.
	Holds(ctx context.Context, repo image.Repository, ds []image.Digest) (map[image.Digest]bool, error)
	// AddBlobs records that the repository holds them; committed says that a manifest there refers to them.
	AddBlobs(ctx context.Context, repo image.Repository, ds []image.Digest, committed bool) error
	// Forget removes what is known about the repository, or about those digests in it.
	Forget(ctx context.Context, repo image.Repository, ds ...image.Digest) error
	// Tagged returns the manifests that were put under those of the repository's tags that are known.
	Tagged(ctx context.Context, repo image.Repository, tags []string) (map[string]image.Digest, error)
	// PutTag records which manifest, by digest, was put under a tag.
	PutTag(ctx context.Context, ref image.Reference) error
}

// Selections stores the digests of indexes reduced to some platforms.
type Selections interface {
	Selected(ctx context.Context, source image.Digest, platforms string) (image.Digest, bool, error)
	PutSelected(ctx context.Context, source image.Digest, platforms string, target image.Digest) error
}

// Looks stores when the referrers of a manifest were last read for a repository.
type Looks interface {
	ReferrersSeen(ctx context.Context, repo image.Repository, d image.Digest) (time.Time, bool, error)
	PutReferrersSeen(ctx context.Context, repo image.Repository, d image.Digest) error
}

// Memory is what an engine remembers across restarts. It is a cache, never the truth: an engine without it is slower, and a wrong memory
// costs a request. Its errors are logged and otherwise ignored.
type Memory interface {
	Manifests
	Whereabouts
	Selections
	Looks
}

// remembering is a Memory whose errors are handled; it may be empty.
type remembering struct {
	memory Memory
	now    func() time.Time
	log    *slog.Logger
}

func (r remembering) manifest(ctx context.Context, d image.Digest) (image.Manifest, bool) {
	if r.memory == nil {
		return image.Manifest{}, false
	}
	m, ok, err := r.memory.Manifest(ctx, d)
	r.heed(ctx, err)
	return m, ok && err == nil
}

func (r remembering) holds(ctx context.Context, repo image.Repository, ds []image.Digest) map[image.Digest]bool {
	if r.memory == nil || len(ds) == 0 {
		return nil
	}
	held, err := r.memory.Holds(ctx, repo, ds)
	r.heed(ctx, err)
	maps.DeleteFunc(held, func(_ image.Digest, holds bool) bool { return !holds })
	return held
}

func (r remembering) holder(ctx context.Context, repo image.Repository, d image.Digest) (image.Repository, bool) {
	if r.memory == nil || repo.IsLayout() {
		return image.Repository{}, false
	}
	repos, err := r.memory.BlobHolders(ctx, repo.Registry, d)
	r.heed(ctx, err)
	if err != nil || len(repos) == 0 {
		return image.Repository{}, false
	}
	return repos[0], true
}

func (r remembering) add(ctx context.Context, repo image.Repository, ds []image.Digest, committed bool) {
	if r.memory != nil {
		r.heed(ctx, r.memory.AddBlobs(ctx, repo, ds, committed))
	}
}

// forget removes what is known about a repository; without digests, everything.
func (r remembering) forget(ctx context.Context, repo image.Repository, ds ...image.Digest) {
	if r.memory != nil {
		r.heed(ctx, r.memory.Forget(ctx, repo, ds...))
	}
}

func (r remembering) tagged(ctx context.Context, repo image.Repository, tags []string) map[string]image.Digest {
	if r.memory == nil {
		return nil
	}
	known, err := r.memory.Tagged(ctx, repo, tags)
	r.heed(ctx, err)
	return known
}

func (r remembering) putTag(ctx context.Context, ref image.Reference) {
	if r.memory != nil {
		r.heed(ctx, r.memory.PutTag(ctx, ref))
	}
}

func (r remembering) selected(ctx context.Context, source image.Digest, platforms []image.Platform) (image.Digest, bool) {
	if r.memory == nil {
		return "", false
	}
	d, ok, err := r.memory.Selected(ctx, source, platformsKey(platforms))
	r.heed(ctx, err)
	return d, ok && err == nil
}

func (r remembering) putSelected(ctx context.Context, source image.Digest, platforms []image.Platform, target image.Digest) {
	if r.memory != nil {
		r.heed(ctx, r.memory.PutSelected(ctx, source, platformsKey(platforms), target))
	}
}

// due reports whether it is time to read the referrers of the order's image again. It is if the memory fails to answer.
func (r remembering) due(ctx context.Context, order mirror.Order) bool {
	if r.memory == nil {
		return false
	}
	seen, ok, err := r.memory.ReferrersSeen(ctx, lookedFor(order.Source, order.Target.Repository), order.Source.Digest)
	r.heed(ctx, err)
	return err != nil || !ok || r.now().Sub(seen) >= order.ReferrersInterval
}

// looked records that they were read.
func (r remembering) looked(ctx context.Context, source image.Reference, target image.Repository) {
	if r.memory != nil {
		r.heed(ctx, r.memory.PutReferrersSeen(ctx, lookedFor(source, target), source.Digest))
	}
}

// lookedFor returns the repository under which a look is recorded: the target's. A layout has no registry, so a path below the source's
// repository, which no registry has, stands for it.
func lookedFor(source image.Reference, target image.Repository) image.Repository {
	if !target.IsLayout() {
		return target
	}
	name := image.DigestOf([]byte(target.Path), "").Encoded()
	return source.Repository.Join("layout-" + name[:16])
}

func (r remembering) heed(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		r.log.LogAttrs(ctx, slog.LevelDebug, "the store did not answer; going on without it", slog.Any("err", err))
	}
}

// platformsKey names a set of platforms, independent of their order.
func platformsKey(platforms []image.Platform) string {
	names := make([]string, 0, len(platforms))
	for _, p := range platforms {
		names = append(names, p.Normal().String())
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}
