package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// belief says how sure an import is that its target holds a manifest, and so what it does about it.
type belief int

const (
	// absent: it is probably not there, or not worth a request. It is copied.
	absent belief = iota
	// unknown: the target is asked.
	unknown
	// remembered: it was there earlier. It is read at the target, which shows whether it still is.
	remembered
	// doubted: it may be gone, or something below it. It is read at the target, and everything below it is checked.
	doubted
	// present: it was seen there since the run began, with everything below it.
	present
)

// inventory is what one import knows about the contents of its target repository: what the run has observed, what this process has seen and
// written there, and what the store remembers. It alone decides whether to ask the target for something, to rely on it, or to copy it.
type inventory struct {
	*Engine
	repo image.Repository
	// job and since identify the run; what was seen before it is memory. observed maps the tags that the run asked for to their digests.
	job      string
	since    time.Time
	observed map[string]image.Digest
	// was is what the tag held, sibling what another tag held; both may be empty.
	was, sibling image.Digest
	// hasImage says that the repository holds the image under some tag, empty that it had none of the observed tags.
	hasImage, empty bool
	// distrust is set once memory has contradicted what was observed, or the target has refused a manifest.
	distrust atomic.Bool

	mu sync.Mutex
	// parts are what the manifests of this import refer to.
	parts []image.Digest
}

func (e *Engine) newInventory(order mirror.Order) *inventory {
	return &inventory{
		Engine: e, repo: order.Target.Repository, job: order.Job, since: order.Since, observed: order.Observed,
		was: order.Was, sibling: order.Sibling, hasImage: order.HeldAs != "", empty: order.Fresh,
	}
}

// seen reports whether the repository was seen in this run to hold something, with everything below it.
func (i *inventory) seen(d image.Digest) bool {
	since := i.since
	if since.IsZero() {
		since = since.Add(1) // as long as this process lives
	}
	return i.locations.has(i.repo, d, since)
}

// remembers reports whether the repository was ever seen to hold something that is not in doubt.
func (i *inventory) remembers(d image.Digest) bool { return i.locations.has(i.repo, d, time.Time{}) }

// doubts reports whether the repository may have lost something.
func (i *inventory) doubts(d image.Digest) bool { return i.locations.doubts(i.repo, d) }

// worthAsking reports whether the repository may hold something that dray does not remember, so that asking is worth a request: not if it
// seems empty, and not if dray has filled it.
func (i *inventory) worthAsking() bool {
	return !i.empty && (i.distrust.Load() || !i.locations.knows(i.repo))
}

// manifest returns how sure it is that a manifest is there. One that is cached is pushed again rather than read at a registry.
func (i *inventory) manifest(ctx context.Context, d image.Digest) belief {
	doubtful, known := i.repo.IsLayout() || i.distrust.Load() || i.doubts(d), i.remembers(d)
	switch {
	case i.seen(d):
		return present
	case !doubtful && !known && i.worthAsking():
		return unknown
	case !doubtful && !known, !i.repo.IsLayout() && i.atHand(ctx, d):
		return absent
	case doubtful:
		return doubted
	}
	return remembered
}

// find reports whether the target has a manifest with everything below it. If it has only the manifest, find returns that, so that it need not
// be fetched from the source.
func (i *inventory) find(ctx context.Context, d image.Digest) (m image.Manifest, there bool, err error) {
	ref, what := i.repo.Digest(d), i.manifest(ctx, d)
	switch what {
	case present:
		return m, true, nil
	case absent:
		return m, false, nil
	case unknown:
		there, err = i.ask(ctx, d)
		return m, there, err
	case remembered, doubted:
	}
	m, err = i.options.Source.Manifest(ctx, ref)
	switch {
	case ctx.Err() != nil:
		return m, false, ctx.Err()
	case err != nil: // gone, damaged, or readable by others only: it is copied
		i.distrust.Store(true)
		return image.Manifest{}, false, nil
	case what == doubted || image.IsIndex(m.MediaType):
		return m, false, nil
	}
	i.locations.arrived(i.repo, d)
	return m, true, nil
}

// ask asks the target for a manifest, and assumes that everything below it is there too.
func (i *inventory) ask(ctx context.Context, d image.Digest) (there bool, err error) {
	ref := i.repo.Digest(d)
	_, err = i.options.Presence.Held(ctx, ref)
	switch {
	case notThere(err):
		return false, nil
	case err != nil:
		return false, mirror.At(mirror.Target, ref, err)
	}
	i.locations.arrived(i.repo, d)
	return true, nil
}

// gone asks for each manifest of an index that the repository holds, and returns the first that is missing. It does not ask layouts and
// metered registries.
func (i *inventory) gone(ctx context.Context, root node) (image.Digest, error) {
	if i.repo.IsLayout() || i.metered(i.repo.Registry) {
		return "", nil
	}
	for _, c := range root.children {
		if image.KindOf(c.MediaType) != image.Manifests || i.seen(c.Digest) {
			continue
		}
		_, err := i.options.Presence.Held(ctx, i.repo.Digest(c.Digest))
		switch {
		case errors.Is(err, image.ErrAbsent):
			return c.Digest, nil
		case err != nil && !notThere(err):
			return "", mirror.At(mirror.Target, i.repo.Digest(c.Digest), err)
		case err == nil && !image.IsIndex(c.MediaType) && !i.doubts(c.Digest):
			i.locations.arrived(i.repo, c.Digest)
		}
	}
	return "", nil
}

// claim returns how to copy a blob from a source; nil if the repository has it. It waits for others that copy it.
func (i *inventory) claim(ctx context.Context, source image.Repository, d image.Descriptor) (*blobCopy, error) {
	var since time.Time
	if i.repo.IsLayout() || i.empty || i.distrust.Load() {
		since = i.since
	}
	c, err := i.locations.claim(ctx, source, i.repo, d.Digest, since)
	return c, mirror.At(mirror.Target, i.repo.Digest(d.Digest), err)
}

// hasBlob asks the target for a blob that is about to be copied, if that is worth a request.
func (i *inventory) hasBlob(ctx context.Context, c *blobCopy, d image.Descriptor) (bool, error) {
	if !c.mount.IsZero() || !i.worthAsking() && !i.doubts(d.Digest) {
		return false, nil
	}
	has, err := i.options.Presence.HasBlob(ctx, i.repo, d)
	if err != nil && !notThere(err) {
		return false, mirror.At(mirror.Target, i.repo.Digest(d.Digest), fmt.Errorf("blob: %w", err))
	}
	return has, nil
}

// settle compares memory with what was observed, and reports whether nothing below the image has to be copied: if it was observed under
// another tag, and has lost nothing that is known. In a layout everything is checked.
func (i *inventory) settle(ctx context.Context, root node) (whole bool) {
	i.findLosses(ctx)
	if i.hasImage && !i.repo.IsLayout() {
		if !i.lostBelow(ctx, root) {
			return true
		}
		i.hasImage = false
	}
	i.checkStore(ctx, root)
	i.trustStore(ctx)
	return false
}

// checkStore compares memory with what was observed. A repository that has no tag of an image that it is remembered to hold has lost the tag,
// and probably more; one that had none of the tags, but is remembered to hold parts of the image, was probably emptied. Then it is asked for
// everything.
func (i *inventory) checkStore(ctx context.Context, root node) {
	about := []image.Digest{root.manifest.Digest}
	if i.empty {
		about = append(about, root.digests()...)
	}
	old := func(d image.Digest) bool { return i.remembers(d) && !i.seen(d) }
	if slices.ContainsFunc(about, old) || len(i.memory.holds(ctx, i.repo, i.news(about))) > 0 {
		i.empty = false
		i.distrust.Store(true)
	}
}

// trustStore relies on the memory of earlier runs if that knows what was observed: then what it does not know is probably not there, and not
// worth a request.
func (i *inventory) trustStore(ctx context.Context) {
	if i.sibling == "" || i.empty || i.distrust.Load() || i.locations.knows(i.repo) {
		return
	}
	if i.memory.holds(ctx, i.repo, []image.Digest{i.sibling})[i.sibling] {
		i.locations.recall(i.repo, i.sibling, i.repo)
	}
}

// news returns the digests that are neither remembered nor doubted.
func (i *inventory) news(list []image.Digest) []image.Digest {
	return slices.DeleteFunc(slices.Clone(list), func(d image.Digest) bool { return i.remembers(d) || i.doubts(d) })
}

// enter records what a manifest refers to, before that is copied, and looks in the memory of earlier runs for what this one does not know.
// What memory says about the repository itself counts only if that was seen to hold something.
func (i *inventory) enter(ctx context.Context, n node) {
	i.mu.Lock()
	i.parts = append(i.parts, n.digests()...)
	i.mu.Unlock()
	if i.options.Memory == nil {
		return
	}
	news := i.news(n.digests())
	var held map[image.Digest]bool
	if !i.empty && !i.distrust.Load() {
		held = i.memory.holds(ctx, i.repo, news)
	}
	for _, d := range news {
		if held[d] {
			i.locations.recall(i.repo, d, i.repo)
		} else if holder, ok := i.memory.holder(ctx, i.repo, d); ok && holder != i.repo {
			i.locations.recall(holder, d, i.repo)
		}
	}
}

// put records that a manifest was written, under a tag if the reference has one.
func (i *inventory) put(ctx context.Context, ref image.Reference, n node) {
	i.locations.arrived(i.repo, n.manifest.Digest)
	i.memory.add(ctx, i.repo, append(n.digests(), n.manifest.Digest), true)
	if ref.Tag != "" {
		i.memory.putTag(ctx, ref.WithDigest(n.manifest.Digest))
	}
}

// invalidate doubts that the repository has the parts of what it refused, and more: from now on it is asked for each.
func (i *inventory) invalidate(ctx context.Context, more ...image.Digest) {
	i.distrustParts(ctx, slices.Concat(i.parts, more))
	i.distrust.Store(true)
	i.hasImage, i.empty = false, false
}

// notThere reports whether a target lacks something or does not say; copying shows.
func notThere(err error) bool {
	return errors.Is(err, image.ErrAbsent) || errors.Is(err, image.ErrHidden)
}
