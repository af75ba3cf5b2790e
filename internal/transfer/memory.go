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

// Manifests has the manifests that were fetched, also before a restart. Who fetches them keeps them.
type Manifests interface {
	Manifest(ctx context.Context, d image.Digest) (image.Manifest, bool, error)
}

// Whereabouts keeps where blobs and manifests are across restarts, as far as a registry has confirmed it.
type Whereabouts interface {
	// BlobHolders returns repositories of a registry that hold a blob.
	BlobHolders(ctx context.Context, registry string, d image.Digest) ([]image.Repository, error)
	// Holds tells which of the digests the repository holds.
	Holds(ctx context.Context, repo image.Repository, ds []image.Digest) (map[image.Digest]bool, error)
	// AddBlobs notes that the repository holds them; committed says that a manifest there refers to them.
	AddBlobs(ctx context.Context, repo image.Repository, ds []image.Digest, committed bool) error
	// Forget drops what is known of the repository, or of those digests in it.
	Forget(ctx context.Context, repo image.Repository, ds ...image.Digest) error
	// Tagged returns which manifests were put under those of the tags of the repository that are known.
	Tagged(ctx context.Context, repo image.Repository, tags []string) (map[string]image.Digest, error)
	// PutTag notes which manifest, by its digest, was put under a tag.
	PutTag(ctx context.Context, ref image.Reference) error
}

// Selections keeps which digest an index has once only some of its platforms are kept.
type Selections interface {
	Selected(ctx context.Context, source image.Digest, platforms string) (image.Digest, bool, error)
	PutSelected(ctx context.Context, source image.Digest, platforms string, target image.Digest) error
}

// Looks keeps when the referrers of a manifest were last looked at for a repository.
type Looks interface {
	ReferrersSeen(ctx context.Context, repo image.Repository, d image.Digest) (time.Time, bool, error)
	PutReferrersSeen(ctx context.Context, repo image.Repository, d image.Digest) error
}

// Memory is what an engine remembers across restarts. It is a help, never the truth: an engine without it is slower, and one
// with a wrong memory pays a request more. Its errors are logged, and then do not matter.
type Memory interface {
	Manifests
	Whereabouts
	Selections
	Looks
}

// remembering is the memory with its errors taken care of; without a memory it knows nothing.
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

// forget drops what is known of a repository; without digests, everything.
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

// due tells whether the referrers of what the order is about should be looked at again. A memory that fails to answer is no reason
// not to.
func (r remembering) due(ctx context.Context, order mirror.Order) bool {
	if r.memory == nil {
		return false
	}
	seen, ok, err := r.memory.ReferrersSeen(ctx, lookedFor(order.Source, order.Target.Repository), order.Source.Digest)
	r.heed(ctx, err)
	return err != nil || !ok || r.now().Sub(seen) >= order.ReferrersInterval
}

// looked notes that they have been.
func (r remembering) looked(ctx context.Context, source image.Reference, target image.Repository) {
	if r.memory != nil {
		r.heed(ctx, r.memory.PutReferrersSeen(ctx, lookedFor(source, target), source.Digest))
	}
}

// lookedFor is the repository under which a look is noted: the target's. A layout has none at a registry, so a path below the
// source's repository, which no registry has, stands for it.
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

// platformsKey names a choice of platforms, whatever the order in which they are written.
func platformsKey(platforms []image.Platform) string {
	names := make([]string, 0, len(platforms))
	for _, p := range platforms {
		names = append(names, p.Normal().String())
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}
