package acr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// maxReferrerDepth limits how far referrers of referrers are followed, maxReferrers how many are imported with one image.
const (
	maxReferrerDepth = 5
	maxReferrers     = 1000
)

// attachment is a manifest that is copied with another.
type attachment struct {
	digest image.Digest
	// tag is the tag with which cosign attaches it to a manifest; empty for others.
	tag string
}

// referrers has the registry import the attachments of the manifest, each by digest, before the manifest itself, so that no tag exists
// without its signatures. A registry accepts a manifest whose subject it does not have (OCI distribution spec, "Pushing Manifests with
// Subject").
func (t *acrImport) referrers(ctx context.Context) error {
	order := t.order
	if order.Referrers.None() || order.Source.Digest == "" {
		return nil
	}
	found, err := t.attachments(ctx)
	if err != nil && !t.unasked(ctx, order, err) {
		return mirror.At(mirror.Source, order.Source, fmt.Errorf("referrers: %w", err))
	}
	for _, c := range found {
		if err := t.bringAttachment(ctx, c); err != nil {
			return fmt.Errorf("import %s, which refers to it: %w", c.digest, err)
		}
	}
	t.looked(ctx)
	return nil
}

// refreshClosed has the registry import new attachments if a check is due and the target cannot be read. The store knows which were imported
// before.
func (e *Engine) refreshClosed(ctx context.Context, order mirror.Order) error {
	if e.options.Memory == nil || order.Referrers.None() || order.Source.Digest == "" {
		return nil
	}
	repo, of := order.Target.Repository, order.Source.Digest
	_, err := e.refreshes.Do(ctx, repo.Digest(of).String(), func(ctx context.Context) (none struct{}, _ error) {
		seen, ok, err := e.options.Memory.ReferrersSeen(ctx, repo, of)
		if err != nil || ok && time.Since(seen) < order.ReferrersInterval { // the earlier imports are unknown, or the check is not due
			e.heed(ctx, err)
			return none, nil
		}
		order.Alike = nil // for imports only
		t := &acrImport{Engine: e, order: order, closed: true, dangling: map[image.Reference]bool{}}
		return none, t.referrers(ctx)
	})
	return err
}

// looked records that the referrers were read, unless the engine copy does the later checks.
func (t *acrImport) looked(ctx context.Context) {
	if !t.closed || t.options.Memory == nil {
		return
	}
	for _, m := range members(t.order) {
		t.heed(ctx, t.options.Memory.PutReferrersSeen(ctx, m.Target.Repository, t.order.Source.Digest))
	}
}

// heed logs an error of the memory, which is only a cache.
func (e *Engine) heed(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		e.options.Log.LogAttrs(ctx, slog.LevelDebug, "the store did not answer; continuing without it", slog.Any("err", err))
	}
}

// bringAttachment has the registry import an attachment into each repository that lacks it.
func (t *acrImport) bringAttachment(ctx context.Context, c attachment) error {
	of := &acrImport{Engine: t.Engine, order: t.order, dangling: map[image.Reference]bool{}, closed: t.closed}
	of.order.Source, of.order.Digest, of.order.RefuseMoved = t.order.Source.Repository.Digest(c.digest), c.digest, t.order.RefuseMoved && t.closed // otherwise it moves, as with the engine copy
	absent, held, err := t.lacking(ctx, c)
	if err != nil {
		return err
	}
	groups := [][]mirror.Alike{absent, held}
	for k := 0; k < len(groups); k++ {
		group := groups[k]
		if len(group) == 0 {
			continue
		}
		if err := t.lookUp(ctx); err != nil {
			return err
		}
		of.target, of.origin = t.target, t.origin
		_, err := of.operate(ctx, group)
		if locked, ok := errors.AsType[*lockedError](err); ok {
			err = locked.tags[group[0].Target]
		}
		switch {
		case err == nil:
			t.options.Log.LogAttrs(ctx, slog.LevelInfo, "imported a referrer of an image", slog.String("job", t.order.Job),
				slog.String("source", t.order.Source.String()), slog.String("target", group[0].Target.String()))
		case !isConflict(err):
			return err
		case len(group) > 1: // it is unknown which of them has it
			groups = slices.AppendSeq(groups, slices.Chunk(group, 1))
			continue
		case c.tag != "": // someone else has set it; its digest is unknown
			continue
		}
		t.note(ctx, c.digest, group) // it is there, whoever copied it
	}
	return nil
}

// lacking returns where to import an attachment: repositories that lack it, and tags that have another digest. If the target cannot be read,
// an attachment that was imported before counts as present.
func (t *acrImport) lacking(ctx context.Context, c attachment) (absent, held []mirror.Alike, err error) {
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
			if d, err := t.remembered(ctx, target); err != nil || d.Digest != c.digest {
				absent = append(absent, mirror.Alike{Target: target})
			}
			continue
		}
		switch d, err := t.options.Plane.Held(ctx, target); {
		case isAbsent(err), errors.Is(err, image.ErrHidden):
			absent = append(absent, mirror.Alike{Target: target})
		case err != nil:
			return nil, nil, mirror.At(mirror.Target, target, err)
		case d.Digest != c.digest:
			held = append(held, mirror.Alike{Target: target, Was: d.Digest})
		}
	}
	return absent, held, nil
}

// attachments finds the attachments of the manifest and, if that costs no pulls, of its children. It uses the referrers API or its fallback,
// and cosign's tags. Subjects come before their attachments.
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

// digestTags returns the tags of the source that may attach something to a manifest. If the account may not list tags, it returns cosign's
// tags for the image itself, whether they exist or not, as the engine copy does.
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

// subjects returns the manifest and, if that costs no pulls, its children.
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

// about returns the attachments of one manifest.
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
