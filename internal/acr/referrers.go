package acr

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// maxReferrerDepth bounds how far referrers of referrers are followed, maxReferrers how many are brought along with one image.
const (
	maxReferrerDepth = 5
	maxReferrers     = 1000
)

// attachment is a manifest that travels along with another.
type attachment struct {
	digest image.Digest
	// tag is the tag by which cosign attaches it to a manifest; empty for others.
	tag string
}

// referrers has the registry import what refers to the manifest, each by its digest, before the manifest itself: so a tag is never there
// without its signatures. A registry takes a manifest whose subject it does not have (OCI distribution spec, "Pushing Manifests with
// Subject").
func (t *acrImport) referrers(ctx context.Context) error {
	order := t.order
	if order.Referrers.None() || order.Source.Digest == "" {
		return nil
	}
	found, err := t.attachments(ctx)
	if t.unasked(ctx, order, err) {
		return nil
	}
	if err != nil {
		return mirror.At(mirror.Source, order.Source, fmt.Errorf("referrers: %w", err))
	}
	for _, c := range found {
		if err := t.bringAttachment(ctx, c); err != nil {
			return fmt.Errorf("import %s, which refers to it: %w", c.digest, err)
		}
	}
	return nil
}

// bringAttachment has the registry import what refers to the manifest, into each repository that lacks it.
func (t *acrImport) bringAttachment(ctx context.Context, c attachment) error {
	of := &acrImport{Engine: t.Engine, order: t.order, target: t.target, origin: t.origin, dangling: map[image.Reference]bool{}, closed: t.closed}
	of.order.Source, of.order.Digest, of.order.RefuseMoved = t.order.Source.Repository.Digest(c.digest), c.digest, t.order.RefuseMoved && t.closed // else as the engine copy does
	var absent, held []mirror.Alike
	seen := map[string]bool{}
	for _, m := range members(t.order) {
		if seen[m.Target.Path] {
			continue
		}
		seen[m.Target.Path] = true
		target := m.Target.Repository.Digest(c.digest)
		if c.tag != "" {
			target = m.Target.Repository.Tag(c.tag)
		}
		if t.closed {
			absent = append(absent, mirror.Alike{Target: target})
			continue
		}
		switch d, err := t.options.Plane.Held(ctx, target); {
		case isAbsent(err), errors.Is(err, image.ErrHidden):
			absent = append(absent, mirror.Alike{Target: target})
		case err != nil:
			return mirror.At(mirror.Target, target, err)
		case d.Digest != c.digest:
			held = append(held, mirror.Alike{Target: target, Was: d.Digest})
		}
	}
	for _, group := range [][]mirror.Alike{absent, held} {
		if len(group) == 0 {
			continue
		}
		_, err := of.operate(ctx, group)
		if locked, ok := errors.AsType[*lockedError](err); ok {
			err = locked.tags[group[0].Target]
		}
		if err != nil && !isConflict(err) { // somebody else has brought it
			return err
		}
	}
	return nil
}

// attachments finds what refers to the manifest and, where that costs no pull, to those below it, by the referrers API or its fallback, and
// by cosign's tags; subjects come before what refers to them.
func (t *acrImport) attachments(ctx context.Context) ([]attachment, error) {
	subjects, err := t.subjects(ctx)
	if err != nil {
		return nil, err
	}
	tags, err := t.digestTags(ctx, subjects[0])
	if err != nil {
		return nil, err
	}
	var found []attachment
	seen := map[image.Digest]bool{}
	for depth := 0; len(subjects) > 0 && depth < maxReferrerDepth; depth++ {
		var next []image.Digest
		for _, s := range subjects {
			of, err := t.about(ctx, s, tags)
			if err != nil {
				return nil, err
			}
			for _, c := range of {
				if !seen[c.digest] {
					seen[c.digest] = true
					found = append(found, c)
					next = append(next, c.digest)
				}
			}
			if len(found) > maxReferrers {
				return nil, fmt.Errorf("more than %d manifests refer to it", maxReferrers)
			}
		}
		subjects = next
	}
	return found, nil
}

// digestTags are the tags of the source that may attach something to a manifest. Not every account may list tags: then they are those that
// cosign gives to the image itself, whether they are there or not, as for the engine copy.
func (t *acrImport) digestTags(ctx context.Context, of image.Digest) ([]string, error) {
	if !t.order.Referrers.All {
		return nil, nil
	}
	tags, err := t.options.Plane.DigestTags(ctx, t.order.Source.Repository)
	if err == nil || ctx.Err() != nil {
		return tags, err
	}
	for _, suffix := range []string{".sig", ".att", ".sbom"} {
		tags = append(tags, of.Algorithm().String()+"-"+of.Encoded()+suffix)
	}
	return tags, nil
}

// subjects are the manifest and those below it, where they can be had without a pull.
func (t *acrImport) subjects(ctx context.Context) ([]image.Digest, error) {
	source := t.order.Source
	subjects := []image.Digest{source.Digest}
	if t.options.Metered(source.Registry) {
		return subjects, nil
	}
	m, err := t.options.Plane.Manifest(ctx, source.Repository.Digest(source.Digest))
	if err != nil || !image.IsIndex(m.MediaType) {
		return subjects, err
	}
	children, err := manifestsOf(m)
	return append(subjects, children...), err
}

// about returns what refers to one manifest.
func (t *acrImport) about(ctx context.Context, subject image.Digest, tags []string) ([]attachment, error) {
	repo := t.order.Source.Repository
	list, err := t.options.Plane.Referrers(ctx, repo, subject)
	if err != nil {
		return nil, err
	}
	var found []attachment
	for _, r := range list {
		if t.order.Referrers.Wants(r.ArtifactType) {
			found = append(found, attachment{digest: r.Digest})
		}
	}
	prefix := strings.ReplaceAll(string(subject), ":", "-") + "."
	for _, tag := range tags {
		if !strings.HasPrefix(tag, prefix) || !t.order.Referrers.All {
			continue
		}
		d, err := t.options.Plane.Head(ctx, repo.Tag(tag))
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, attachment{digest: d.Digest, tag: tag})
	}
	return found, nil
}
