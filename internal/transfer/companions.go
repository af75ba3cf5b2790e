package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// maxReferrerDepth bounds how far referrers of referrers are followed.
const maxReferrerDepth = 4

// Refresh brings what has come to refer to an image since the target was last given any, once the order's interval is over:
// signatures are often pushed after their image. When that was is known from memory only, so without one nothing is due.
func (e *Engine) Refresh(ctx context.Context, order mirror.Order) (mirror.Cost, error) {
	if order.Referrers.None() || !e.memory.due(ctx, order) {
		return mirror.Cost{}, nil
	}
	t := &task{Engine: e, order: order, meter: unmetered{}, from: order.Source.Repository}
	err := t.refresh(ctx)
	if refusesParts(err) {
		t.disbelieve(ctx)
		err = t.refresh(ctx)
	}
	return t.cost, err
}

func (t *task) refresh(ctx context.Context) error {
	root, err := t.root(ctx)
	if err != nil {
		return err
	}
	return t.companions(ctx, root)
}

// unmetered is a meter that nobody reads.
type unmetered struct{}

func (unmetered) Expect(int64) {}
func (unmetered) Moved(int64)  {}

// companions brings what refers to the image: referrers by the OCI distribution spec, of the root and of its children, and
// the tags that cosign names after a digest. Where platforms are left out the root is another manifest than the source's, so
// what refers to the source's does not hold for it; what refers to the children does.
func (t *task) companions(ctx context.Context, root node) error {
	if t.order.Referrers.None() {
		return nil
	}
	var subjects []image.Digest
	if root.manifest.Digest == t.order.Source.Digest {
		subjects = append(subjects, root.manifest.Digest)
	}
	for _, c := range root.children {
		subjects = append(subjects, c.Digest)
	}
	tags, err := t.cosignTags(ctx, subjects) // first: the list of tags answers for fallback tags, too
	if err != nil {
		return err
	}
	var found []referrer
	for _, s := range subjects {
		list, err := t.referrers(ctx, s, 0)
		if err != nil {
			return err
		}
		found = append(found, list...)
	}
	if len(found)+len(tags) > 0 {
		if err := t.bringCompanions(ctx, root, found, tags); err != nil {
			return err
		}
	}
	t.memory.looked(ctx, t.order)
	return nil
}

func (t *task) bringCompanions(ctx context.Context, root node, found []referrer, tags []string) error {
	target := t.order.Target.Repository
	// A registry may refuse what refers to nothing, so the image comes first, still without its tag.
	if t.order.HeldAs == "" && !t.places.has(target, root.manifest.Digest) {
		if err := t.push(ctx, target.Digest(root.manifest.Digest), root); err != nil {
			return err
		}
	}
	for _, r := range found {
		if err := t.artifact(ctx, t.from.Digest(r.Digest), target.Digest(r.Digest), r.subject); err != nil {
			return err
		}
	}
	for _, tag := range tags {
		d, err := t.options.Presence.Head(ctx, t.from.Tag(tag))
		if errors.Is(err, image.ErrAbsent) {
			continue // gone since the tags were listed
		}
		if err != nil {
			return mirror.At(mirror.Source, t.from.Tag(tag), err)
		}
		held, err := t.options.Presence.Head(ctx, target.Tag(tag))
		switch {
		case err == nil && held.Digest == d.Digest:
			continue
		case err != nil && !errors.Is(err, image.ErrAbsent):
			return mirror.At(mirror.Target, target.Tag(tag), err)
		}
		if err := t.artifact(ctx, t.from.Digest(d.Digest), target.Tag(tag), ""); err != nil {
			return err
		}
	}
	return nil
}

// referrer is what refers to a subject.
type referrer struct {
	image.Digest
	subject image.Digest
}

// referrers lists what refers to a manifest, and to that in turn, subjects before what refers to them.
func (t *task) referrers(ctx context.Context, subject image.Digest, depth int) ([]referrer, error) {
	if depth >= maxReferrerDepth {
		return nil, nil
	}
	list, err := t.options.Artifacts.Referrers(ctx, t.from, subject)
	if errors.Is(err, image.ErrAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, mirror.At(mirror.Source, t.from.Digest(subject), fmt.Errorf("referrers: %w", err))
	}
	var found []referrer
	for _, r := range list {
		if !t.order.Referrers.Wants(r.ArtifactType) {
			continue
		}
		found = append(found, referrer{r.Digest, subject})
		more, err := t.referrers(ctx, r.Digest, depth+1)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// cosignTags returns the tags of the source by which cosign attaches signatures, attestations and SBOMs to the subjects
// (cosign's "Detached Payload Tag" convention: sha256-<hex>.sig). They have no artifact type to choose by, so they travel
// only where all referrers do.
func (t *task) cosignTags(ctx context.Context, subjects []image.Digest) ([]string, error) {
	if !t.order.Referrers.All {
		return nil, nil
	}
	tags, err := t.options.Artifacts.RecentTags(ctx, t.from)
	if err != nil && ctx.Err() != nil {
		return nil, mirror.At(mirror.Source, t.from, fmt.Errorf("list tags: %w", err))
	}
	unlisted := err != nil // not every account may list tags: each tag is then asked for by its name
	var found []string
	for _, s := range subjects {
		for _, suffix := range []string{".sig", ".att", ".sbom"} {
			tag := s.Algorithm().String() + "-" + s.Encoded() + suffix
			if _, ok := slices.BinarySearch(tags, tag); ok || unlisted {
				found = append(found, tag)
			}
		}
	}
	return found, nil
}

// artifact brings one companion, with everything below it. One that refers to a subject is there only once it is found by it: a
// registry without the referrers API is given the artifact and then the list, and a crash may have come between.
func (t *task) artifact(ctx context.Context, source, target image.Reference, subject image.Digest) error {
	if target.Tag == "" && t.places.has(target.Repository, source.Digest) {
		return nil
	}
	if target.Tag == "" && t.unknown(target.Repository) {
		there, err := t.attached(ctx, target, subject)
		if there || err != nil {
			return err
		}
	}
	m, err := t.manifest(ctx, source)
	if err != nil {
		return err
	}
	n, err := t.parse(m)
	if err != nil {
		return mirror.At(mirror.Source, source, err)
	}
	if err := t.walk(ctx, n); err != nil {
		return err
	}
	return t.push(ctx, target, n)
}

// attached tells whether the target has an artifact, and lists it for its subject. One that is there and not listed is pushed
// again as it is.
func (t *task) attached(ctx context.Context, target image.Reference, subject image.Digest) (bool, error) {
	_, err := t.options.Presence.Head(ctx, target)
	if errors.Is(err, image.ErrAbsent) {
		return false, nil
	}
	if err != nil {
		return false, mirror.At(mirror.Target, target, err)
	}
	list, err := t.options.Artifacts.Referrers(ctx, target.Repository, subject)
	if err != nil && !errors.Is(err, image.ErrAbsent) {
		return false, mirror.At(mirror.Target, target.Repository.Digest(subject), fmt.Errorf("referrers: %w", err))
	}
	for _, r := range list {
		if r.Digest == target.Digest {
			t.places.arrived(target.Repository, target.Digest)
			return true, nil
		}
	}
	m, err := t.options.Source.Manifest(ctx, target)
	if err != nil {
		return false, mirror.At(mirror.Target, target, fmt.Errorf("manifest: %w", err))
	}
	n, err := t.parse(m)
	if err != nil {
		return false, mirror.At(mirror.Target, target, err)
	}
	return true, t.push(ctx, target, n)
}
