package registry

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"

	"github.com/draysync/dray/internal/flight"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// takenBlobs are blobs that a registry says it has taken, until one that came in the same way has been found there. An answer can name a blob that
// nobody keeps: its digest is in the request.
type takenBlobs struct {
	found  [ways]atomic.Bool
	blobs  [ways]wire.Recent[image.Reference, struct{}]
	asking flight.Group[struct{}]
}

// The ways in which a blob comes to a registry.
const (
	bySending = iota
	byMounting
	ways
)

func (b *takenBlobs) add(way int, ref image.Reference) {
	b.blobs[ways-1-way].Drop(ref)
	if !b.found[way].Load() {
		b.blobs[way].Put(ref, struct{}{}, mountedFor)
	}
}

// of returns a blob of a manifest that came in a way of which none has been found yet; empty for none.
func (b *takenBlobs) of(way int, repo image.Repository, m image.Manifest) image.Digest {
	if b.found[way].Load() {
		return ""
	}
	var doc struct {
		Config struct {
			Digest image.Digest `json:"digest"`
		} `json:"config"`
		Layers []struct {
			Digest image.Digest `json:"digest"`
		} `json:"layers"`
	}
	_ = json.Unmarshal(m.Raw, &doc) // what is no image names no blobs
	for _, l := range append(doc.Layers, doc.Config) {
		if _, ok := b.blobs[way].Get(repo.Digest(l.Digest)); ok {
			return l.Digest
		}
	}
	return ""
}

// proveBlobs looks for one blob of a manifest before that is pushed, once for each registry and each way in which blobs come there. What dray cannot
// read, as an account that may only push, is believed.
func (c *Client) proveBlobs(ctx context.Context, repo image.Repository, m image.Manifest) error {
	e := c.endpoint(repo)
	for way := range ways {
		d := e.taken.of(way, repo, m)
		if d == "" {
			continue
		}
		var own atomic.Bool
		look := func(ctx context.Context) (struct{}, error) {
			own.Store(true)
			return struct{}{}, c.findBlob(ctx, way, repo.Digest(d), m)
		}
		_, err := e.taken.asking.Do(ctx, [ways]string{"sent", "mounted"}[way], look)
		if err != nil && ctx.Err() == nil && !own.Load() { // it may concern another blob
			_, err = look(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// findBlob looks for a blob that a registry has taken. Some may show it only once a manifest names it, so the manifest is pushed then, without its tag.
func (c *Client) findBlob(ctx context.Context, way int, ref image.Reference, m image.Manifest) error {
	e := c.endpoint(ref.Repository)
	if e.taken.found[way].Load() {
		return nil
	}
	err := e.headBlob(ctx, ref.Repository, ref.Digest)
	if errors.Is(err, image.ErrAbsent) {
		if _, err := e.putManifest(ctx, ref.Repository.Digest(m.Digest), m.MediaType, m.Raw); err != nil {
			return err
		}
		err = e.awaitBlob(ctx, ref)
	}
	switch {
	case errors.Is(err, image.ErrAbsent):
		lost := e.refused(putManifest, nil, "it says that it has taken the blob %s of the manifest, and does not have it", ref.Digest)
		lost.ErrorCode = "MANIFEST_BLOB_UNKNOWN"
		lost.Hint = "if that lasts, find out what answers in the registry's place, such as a proxy"
		return lost
	case err != nil && !errors.Is(c.hidden(ctx, ref.Repository, err), image.ErrHidden):
		return err
	}
	e.taken.found[way].Store(true)
	return nil
}
