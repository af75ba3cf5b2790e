package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/regclient/regclient/types/descriptor"
	"github.com/regclient/regclient/types/manifest"
	"github.com/regclient/regclient/types/ref"
	"github.com/regclient/regclient/types/referrer"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// fallbackLists keep two pushes of one process from writing one referrers list at once (OCI distribution spec, "Referrers Tag Schema"). No
// one waits for a list while holding a slot.
type fallbackLists struct {
	mu   sync.Mutex
	busy map[image.Reference]chan struct{}
	// kept are lists that were fetched or written lately.
	kept wire.Recent[image.Reference, image.Manifest]
}

// take waits until no one else writes the list.
func (f *fallbackLists) take(ctx context.Context, list image.Reference) (leave func(), err error) {
	for {
		f.mu.Lock()
		taken, ok := f.busy[list]
		if !ok {
			if f.busy == nil {
				f.busy = map[image.Reference]chan struct{}{}
			}
			mine := make(chan struct{})
			f.busy[list] = mine
			f.mu.Unlock()
			return func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				delete(f.busy, list)
				close(mine)
			}, nil
		}
		f.mu.Unlock()
		select {
		case <-taken:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// addToList adds a manifest to its subject's referrers list.
func (c *Client) addToList(ctx context.Context, repo image.Repository, subject image.Digest, m image.Manifest) error {
	e := c.endpoint(repo)
	f, tag := &e.lists, repo.Tag(image.ReferrersTag(subject))
	leave, err := f.take(ctx, tag)
	if err != nil {
		return err
	}
	defer leave()
	held, referrers, err := e.fallback(ctx, repo, subject)
	if err != nil && !errors.Is(err, image.ErrAbsent) && !c.hasNone(ctx, repo.Digest(m.Digest), err) {
		return err
	}
	if held.Raw != nil && !image.ListsReferrers(held.Raw) {
		refused := e.refused(putManifest, nil, "the tag %s, which the referrers list of %s needs, holds an image", tag.Tag, subject)
		refused.Hint = "remove that tag, or set referrers: false"
		return refused
	}
	for _, r := range referrers {
		if r.Digest == m.Digest {
			return nil
		}
	}
	raw, err := listWith(held.Raw, m)
	if err != nil {
		return e.refused(putManifest, err, "the referrers list of %s: %v", subject, err)
	}
	list := image.Manifest{Descriptor: image.Descriptor{MediaType: image.MediaTypeOCIIndex, Digest: image.DigestOf(raw, ""), Size: int64(len(raw))}, Raw: raw}
	header, err := e.putManifest(ctx, tag, list.MediaType, raw)
	if err == nil {
		err = c.proveManifest(ctx, tag, list, namesManifest(header, list))
	}
	if err == nil {
		f.keep(tag, list)
	}
	return err
}

// hasNone reports whether an answer that leaves open whether there is a list means that there is none: where a manifest that was just pushed beside it
// can be read, it is not about rights.
func (c *Client) hasNone(ctx context.Context, pushed image.Reference, err error) bool {
	if !errors.Is(c.hidden(ctx, pushed.Repository, err), image.ErrHidden) {
		return false
	}
	_, err = c.Held(ctx, pushed)
	return err == nil
}

func (f *fallbackLists) keep(tag image.Reference, m image.Manifest) {
	if len(m.Raw) <= maxKeptList {
		f.kept.Put(tag, m, listMemory)
	}
}

// A referrers list of up to maxKeptList bytes is kept for listMemory, so that a verified image's is not fetched again when it is imported.
const (
	maxKeptList = 4 << 10
	listMemory  = time.Minute
)

// fallback fetches a referrers list by its tag, with the rights that writing it takes. Of one that was fetched before, a HEAD says whether it is
// still the same.
func (e *endpoint) fallback(ctx context.Context, repo image.Repository, d image.Digest) (image.Manifest, []image.Referrer, error) {
	tag := repo.Tag(image.ReferrersTag(d))
	m, kept := e.lists.kept.Get(tag)
	if kept {
		held, err := e.headManifest(ctx, tag, auth.Pull(repo.Path), false)
		kept = err == nil && held.Digest == m.Digest
	}
	if !kept {
		var err error
		if m, err = e.manifest(ctx, tag, false); err != nil {
			return m, nil, err
		}
		e.lists.keep(tag, m)
	}
	if !image.ListsReferrers(m.Raw) {
		return m, nil, nil // an image that is tagged with its own digest
	}
	list, err := referrersOf(m.Raw, m.MediaType)
	if err != nil {
		return m, nil, e.refused(getManifest, err, "%v", err)
	}
	return m, list, nil
}

// listWith returns a referrers list with one more entry; without a list it makes one.
func listWith(held []byte, m image.Manifest) ([]byte, error) {
	added, err := manifest.New(manifest.WithRaw(m.Raw), manifest.WithDesc(descriptor.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Raw))}))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	list := referrer.New(ref.Ref{})
	if held != nil {
		if list.Manifest, err = manifest.New(manifest.WithRaw(held), manifest.WithDesc(descriptor.Descriptor{MediaType: image.MediaTypeOCIIndex})); err != nil {
			return nil, fmt.Errorf("read the list: %w", err)
		}
	}
	if err := list.Add(added); err != nil {
		return nil, fmt.Errorf("add to the list: %w", err)
	}
	raw, err := list.Manifest.RawBody()
	if err != nil {
		return nil, fmt.Errorf("write the list: %w", err)
	}
	return raw, nil
}

// subjectOf returns the subject of a manifest; empty for none.
func subjectOf(raw []byte) image.Digest {
	var doc struct {
		Subject *struct {
			Digest string `json:"digest"`
		} `json:"subject"`
	}
	if json.Unmarshal(raw, &doc) != nil || doc.Subject == nil {
		return ""
	}
	digest, err := image.ParseDigest(doc.Subject.Digest)
	if err != nil {
		return ""
	}
	return digest
}
