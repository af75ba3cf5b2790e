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

// belief is what is thought of one thing that a target may hold, and with it what an import does about it.
type belief int

const (
	// absent: it is hardly there, or not worth a question. It is brought.
	absent belief = iota
	// unknown: nothing is known of it. The target is asked.
	unknown
	// remembered: it was there, as far as is remembered. The target's own manifest is read, and shows whether it still is.
	remembered
	// doubted: it may be gone, or something below it. The target's own manifest is read, and what is below it is looked at.
	doubted
	// present: it was seen there since the run began, with all below it.
	present
)

// inventory is what one import thinks that its target repository holds: by what the run has observed, by what this process has seen and put
// there, and by the memory of earlier ones. Only it decides whether the target is asked for something, believed to hold it, or given it.
type inventory struct {
	*Engine
	repo image.Repository
	// job and since are the run; what was seen before is memory. observed are the tags that it has asked for, with what they hold.
	job      string
	since    time.Time
	observed map[string]image.Digest
	// was is what the tag held, sibling what another tag did; both may be empty.
	was, sibling image.Digest
	// hasImage says that the repository was observed to hold the image itself, and empty that it held none of the tags.
	hasImage, empty bool
	// distrust is set where the memory contradicts what was observed, or the target has refused what needs it.
	distrust atomic.Bool

	mu sync.Mutex
	// parts are what the manifests that were walked refer to.
	parts []image.Digest
}

func (e *Engine) newInventory(order mirror.Order) *inventory {
	return &inventory{
		Engine: e, repo: order.Target.Repository, job: order.Job, since: order.Since, observed: order.Observed,
		was: order.Was, sibling: order.Sibling, hasImage: order.HeldAs != "", empty: order.Fresh,
	}
}

// seen tells whether the repository was seen in this run to hold something, with all below it.
func (i *inventory) seen(d image.Digest) bool {
	since := i.since
	if since.IsZero() {
		since = since.Add(1) // as long as this process lives
	}
	return i.locations.has(i.repo, d, since)
}

// remembers tells whether the repository was ever seen to hold something, and that is not in doubt.
func (i *inventory) remembers(d image.Digest) bool { return i.locations.has(i.repo, d, time.Time{}) }

// doubts tells whether the repository may have lost something.
func (i *inventory) doubts(d image.Digest) bool { return i.locations.doubts(i.repo, d) }

// worthAsking tells whether the repository may hold what nothing is remembered of, so that a question is worth a request: not where it
// seems to be empty, and not where this program has filled it.
func (i *inventory) worthAsking() bool {
	return !i.empty && (i.distrust.Load() || !i.locations.knows(i.repo))
}

// manifest returns what is thought of a manifest. One that is at hand is rather pushed again than read at a registry.
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

// find tells whether the target has a manifest with all below it. Where it has only the manifest, and that was read there, it is returned: it
// need not be fetched from the source.
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
	case err != nil: // gone, spoilt, or for others to read only: it is brought
		i.distrust.Store(true)
		return image.Manifest{}, false, nil
	case what == doubted || image.IsIndex(m.MediaType):
		return m, false, nil
	}
	i.locations.arrived(i.repo, d)
	return m, true, nil
}

// ask asks the target for a manifest, and believes that what is below it is there as well.
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

// gone asks for each manifest of an index that the repository holds, and returns the first one that it does not have any more. Layouts, and
// registries that count what is asked, are not asked.
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

// claim returns how a blob is to be brought from a source, and nil where the repository has it. Others who bring it are waited for.
func (i *inventory) claim(ctx context.Context, source image.Repository, d image.Descriptor) (*blobCopy, error) {
	var since time.Time
	if i.repo.IsLayout() || i.empty || i.distrust.Load() {
		since = i.since
	}
	c, err := i.locations.claim(ctx, source, i.repo, d.Digest, since)
	return c, mirror.At(mirror.Target, i.repo.Digest(d.Digest), err)
}

// hasBlob asks the target for a blob that is about to be brought, where that is worth a request.
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

// settle compares what is remembered with what was observed, and tells whether the image needs nothing below it: where it was observed under
// another tag, and has lost nothing as far as is known. What a layout holds is looked at on the disk.
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

// checkStore compares what is remembered with what was observed. A repository that holds no tag with an image that it is remembered to hold
// has lost the tag, and probably more; one that held none of its tags, and yet is remembered to hold parts of the image, has probably
// been emptied. Then everything is asked for.
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

// trustStore has earlier runs' memory of the repository count where it knows what was observed there: then what it does not know is hardly
// there, and not worth a question each.
func (i *inventory) trustStore(ctx context.Context) {
	if i.sibling == "" || i.empty || i.distrust.Load() || i.locations.knows(i.repo) {
		return
	}
	if i.memory.holds(ctx, i.repo, []image.Digest{i.sibling})[i.sibling] {
		i.locations.recall(i.repo, i.sibling, i.repo)
	}
}

// news are those of the digests of which nothing is remembered, and nothing in doubt.
func (i *inventory) news(list []image.Digest) []image.Digest {
	return slices.DeleteFunc(slices.Clone(list), func(d image.Digest) bool { return i.remembers(d) || i.doubts(d) })
}

// enter notes what a manifest refers to, before that is brought, and asks the memory of earlier runs for what this one knows nothing of. What
// it says of the repository itself is believed only where that was seen to hold something.
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

// put notes that a manifest has been written, under a tag where the reference has one.
func (i *inventory) put(ctx context.Context, ref image.Reference, n node) {
	i.locations.arrived(i.repo, n.manifest.Digest)
	i.memory.add(ctx, i.repo, append(n.digests(), n.manifest.Digest), true)
	if ref.Tag != "" {
		i.memory.putTag(ctx, ref.WithDigest(n.manifest.Digest))
	}
}

// invalidate puts in doubt that the repository has the parts of what it refused, and more: each is asked for from now on.
func (i *inventory) invalidate(ctx context.Context, more ...image.Digest) {
	i.distrustParts(ctx, slices.Concat(i.parts, more))
	i.distrust.Store(true)
	i.hasImage, i.empty = false, false
}

// notThere tells whether a target lacks something, as far as it says: what it does not say is found out by bringing it.
func notThere(err error) bool {
	return errors.Is(err, image.ErrAbsent) || errors.Is(err, image.ErrHidden)
}
