package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// maxReferrerDepth limits how far referrers of referrers are followed.
const maxReferrerDepth = 5

// Refresh copies attachments that have appeared since the last look, once the order's interval is over: signatures are often pushed after
// their image. It also restores manifests of the image that were deleted at the target. The time of the last look is known from memory
// only, so without a memory nothing is due.
func (e *Engine) Refresh(ctx context.Context, order mirror.Order, meter mirror.Meter) (mirror.Cost, error) {
	if order.Referrers.None() || !e.memory.due(ctx, order) {
		return mirror.Cost{}, nil
	}
	return e.perform(ctx, order, meter, (*task).refresh)
}

func (t *task) refresh(ctx context.Context) error {
	root, err := t.source.root(ctx, t.order.Digest, t.target)
	if err != nil {
		return err
	}
	if err := t.restore(ctx, root); err != nil {
		return err
	}
	return t.attachments(ctx, root)
}

// restore asks for each manifest of an index at the target, and copies what is below the index again if one is gone, which the tag does not
// show. It asks for blobs only then.
func (t *task) restore(ctx context.Context, root node) error {
	if t.order.ReferrersOnly {
		return nil
	}
	gone, err := t.target.gone(ctx, root)
	if gone == "" || err != nil {
		return err
	}
	t.options.Log.LogAttrs(ctx, slog.LevelWarn, "a manifest of an image is gone at the target; it is brought again",
		slog.String("job", t.order.Job), slog.String("target", t.order.Target.String()), slog.String("digest", string(gone)))
	t.target.invalidate(ctx, root.digests()...)
	t.visits = &visits{}
	ctx, reserve := t.reserve(ctx)
	defer reserve(0)
	return t.walk(ctx, root, 0)
}

// attachment is a manifest that is copied with another.
type attachment struct {
	image.Digest
	// subject is the manifest's subject; empty if it was found by a tag.
	subject image.Digest
	// tag is the tag with which cosign attaches it to a manifest; empty for others.
	tag   string
	depth int
}

// attachments copies what refers to the image: referrers (OCI distribution spec) and the tags that cosign names after a digest, of the root
// and of all manifests below it, and in turn their attachments. If platforms are left out, the root differs from the source's, so the
// attachments of the source's root do not apply to it; those of the manifests below do.
func (t *task) attachments(ctx context.Context, root node) error {
	if t.order.Referrers.None() {
		return nil
	}
	found, err := t.source.attachments(ctx, root, t.visits)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		if err := t.bringAttachments(ctx, root, found); err != nil {
			return err
		}
	}
	t.memory.looked(ctx, t.order.Source, t.order.Target.Repository)
	return nil
}

// attachments lists what refers to an image: to the manifests below it, and to its root unless that is not the source's. What it finds counts as
// visited.
func (r *reader) attachments(ctx context.Context, root node, visits *visits) ([]attachment, error) {
	below := descent{reader: r}
	if err := below.visit(ctx, root, 1); err != nil {
		return nil, err
	}
	subjects := below.all
	if root.manifest.Digest == r.source.Digest {
		subjects = append([]image.Digest{root.manifest.Digest}, subjects...)
	}
	return r.search(ctx, subjects, visits)
}

// descent is a walk over the manifests below an index, and below nested indexes, each once.
type descent struct {
	*reader
	visits visits
	all    []image.Digest
}

func (d *descent) visit(ctx context.Context, n node, depth int) error {
	for _, c := range n.children {
		first, err := d.visits.first(c.Digest, depth)
		if err != nil {
			return mirror.At(mirror.Source, d.source, err)
		}
		if !first || image.KindOf(c.MediaType) == image.LikelyBlobs {
			continue
		}
		d.all = append(d.all, c.Digest)
		if !image.IsIndex(c.MediaType) {
			continue
		}
		if err := d.enter(ctx, d.source.Repository.Digest(c.Digest), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// enter walks over what is below one index.
func (d *descent) enter(ctx context.Context, index image.Reference, depth int) error {
	m, err := d.manifest(ctx, index)
	if err != nil {
		return err
	}
	inner, err := parse(m)
	if err != nil {
		return mirror.At(mirror.Source, index, err)
	}
	return d.visit(ctx, inner, depth)
}

// search finds the attachments of the subjects, and in turn theirs: subjects come before their attachments.
func (r *reader) search(ctx context.Context, subjects []image.Digest, visits *visits) ([]attachment, error) {
	tags, err := r.cosignTags(ctx) // first, since the list of tags also answers for fallback tags
	if err != nil {
		return nil, err
	}
	var found []attachment
	seen := map[image.Digest]bool{}
	queue := make([]attachment, 0, len(subjects))
	for _, s := range subjects {
		queue = append(queue, attachment{Digest: s})
	}
	for ; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		if seen[s.Digest] || s.depth >= maxReferrerDepth {
			continue
		}
		seen[s.Digest] = true
		list, err := r.attachedTo(ctx, s, tags)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			if _, err := visits.first(c.Digest, c.depth); err != nil {
				return nil, mirror.At(mirror.Source, r.source, err)
			}
		}
		found = append(found, list...)
		queue = append(queue, list...)
	}
	return found, nil
}

// attachedTo lists the attachments of one manifest.
func (r *reader) attachedTo(ctx context.Context, s attachment, tags cosign) ([]attachment, error) {
	repo := r.source.Repository
	list, err := r.options.Artifacts.Referrers(ctx, repo, s.Digest)
	if err != nil && !errors.Is(err, image.ErrAbsent) {
		return nil, mirror.At(mirror.Source, repo.Digest(s.Digest), fmt.Errorf("referrers: %w", err))
	}
	var found []attachment
	for _, of := range list {
		if r.wanted.Wants(of.ArtifactType) {
			found = append(found, attachment{Digest: of.Digest, subject: s.Digest, depth: s.depth + 1})
		}
	}
	for _, tag := range tags.of(s) {
		d, err := r.options.Artifacts.Head(ctx, repo.Tag(tag))
		if errors.Is(err, image.ErrAbsent) {
			continue // gone since the tags were listed
		}
		if err != nil {
			return nil, mirror.At(mirror.Source, repo.Tag(tag), err)
		}
		found = append(found, attachment{Digest: d.Digest, tag: tag, depth: s.depth + 1})
	}
	return found, nil
}

// cosign are the source's tags, with which cosign attaches signatures, attestations and SBOMs (its "Detached Payload Tag" convention:
// sha256-<hex>.sig).
type cosign struct {
	tags []string
	// wanted is set if they are copied, unlisted if the source does not list its tags.
	wanted, unlisted bool
}

// cosignTags lists the tags of the source. What is attached by tag has no artifact type to select by, so it is copied only if all referrers
// are.
func (r *reader) cosignTags(ctx context.Context) (cosign, error) {
	if !r.wanted.All {
		return cosign{}, nil
	}
	tags, err := r.options.Artifacts.DigestTags(ctx, r.source.Repository)
	if err != nil && ctx.Err() != nil {
		return cosign{}, mirror.At(mirror.Source, r.source.Repository, fmt.Errorf("list tags: %w", err))
	}
	return cosign{tags: tags, wanted: true, unlisted: err != nil}, nil // not every account may list tags
}

// of returns the tags that may attach something to a manifest. If tags are not listed, it returns all three names, but only for the image
// itself.
func (c cosign) of(s attachment) []string {
	var found []string
	for _, suffix := range []string{".sig", ".att", ".sbom"} {
		tag := s.Algorithm().String() + "-" + s.Encoded() + suffix
		_, listed := slices.BinarySearch(c.tags, tag)
		if c.wanted && (listed || c.unlisted && s.depth == 0) {
			found = append(found, tag)
		}
	}
	return found
}

func (t *task) bringAttachments(ctx context.Context, root node, found []attachment) error {
	target := t.order.Target.Repository
	// A registry may refuse referrers of a missing manifest, so the image comes first, still without its tag.
	if !t.target.hasImage && !t.target.seen(root.manifest.Digest) {
		if err := t.push(ctx, target.Digest(root.manifest.Digest), root); err != nil {
			return err
		}
	}
	for _, c := range found {
		to := target.Digest(c.Digest)
		if c.tag != "" {
			to = target.Tag(c.tag)
			held, err := t.options.Presence.Held(ctx, to)
			if err != nil && !notThere(err) {
				return mirror.At(mirror.Target, to, err)
			}
			if err == nil && held.Digest == c.Digest {
				continue
			}
		}
		from := t.order.Source.Repository.Digest(c.Digest)
		from.Tag = c.tag
		if err := t.artifact(ctx, from, to, c.subject); err != nil {
			return err
		}
	}
	return nil
}

// artifact copies one attachment with everything below it. One that the source names and does not have is passed over: fallback tags outlive what they
// list. A referrer counts as present only if its subject lists it: a registry without
// the referrers API gets the artifact and then the list, and a crash may have come between.
func (t *task) artifact(ctx context.Context, source, target image.Reference, subject image.Digest) error {
	if target.Tag == "" && t.target.seen(source.Digest) {
		return nil
	}
	if target.Tag == "" && t.target.worthAsking() {
		there, err := t.attached(ctx, target, subject)
		if there || err != nil {
			return err
		}
	}
	m, err := t.source.manifest(ctx, source)
	if moved, ok := errors.AsType[*image.MovedError](err); ok {
		m, err = t.source.manifest(ctx, source.WithDigest(moved.Now.Digest))
	}
	if errors.Is(err, image.ErrAbsent) {
		t.options.Log.LogAttrs(ctx, slog.LevelWarn, "the source lists a referrer that it does not have; the image is imported without it",
			slog.String("job", t.order.Job), slog.String("source", t.order.Source.String()), slog.String("digest", string(source.Digest)))
		return nil
	}
	if err != nil {
		return err
	}
	n, err := t.source.parse(m)
	if err != nil {
		return mirror.At(mirror.Source, source, err)
	}
	if err := t.walk(ctx, n, 0); err != nil {
		return err
	}
	return t.push(ctx, target, n)
}

// attached reports whether the target has an artifact and lists it for its subject. If it has the artifact and does not list it, attached
// pushes it again.
func (t *task) attached(ctx context.Context, target image.Reference, subject image.Digest) (bool, error) {
	_, err := t.options.Presence.Held(ctx, target)
	if notThere(err) {
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
			t.locations.arrived(target.Repository, target.Digest)
			return true, nil
		}
	}
	m, err := t.options.Source.Manifest(ctx, target)
	if err != nil {
		return false, mirror.At(mirror.Target, target, fmt.Errorf("manifest: %w", err))
	}
	n, err := t.source.parse(m)
	if err != nil {
		return false, mirror.At(mirror.Target, target, err)
	}
	return true, t.push(ctx, target, n)
}
