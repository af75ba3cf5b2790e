package transfer

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/draysync/dray/internal/image"
)

// maxCached limits the manifests in memory, in bytes; a manifest has some kilobytes.
const maxCached = 16 << 20

// manifestCache caches fetched manifests by digest, so that none is fetched twice while it is cached.
type manifestCache struct {
	flight singleflight.Group

	mu    sync.Mutex
	byKey map[image.Digest]image.Manifest
	order []image.Digest // oldest first
	bytes int64
}

func newManifestCache() *manifestCache {
	return &manifestCache{byKey: map[image.Digest]image.Manifest{}}
}

func (c *manifestCache) has(d image.Digest) bool {
	_, ok := c.lookup(d)
	return ok
}

func (c *manifestCache) lookup(d image.Digest) (image.Manifest, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.byKey[d]
	return m, ok
}

// get returns a manifest, from the cache or by fetch; fetch reports whether it has asked a registry, and get passes that on. Of several
// callers for one repository, one fetches; if that fails because its context ended, another tries for itself.
func (c *manifestCache) get(ctx context.Context, source image.Reference, fetch func() (image.Manifest, bool, error)) (m image.Manifest, pulled bool, err error) {
	d := source.Digest
	if m, ok := c.lookup(d); ok {
		return m, false, nil
	}
	mine := false
	v, err, _ := c.flight.Do(source.Repository.Digest(d).String(), func() (any, error) {
		mine = true
		if m, ok := c.lookup(d); ok {
			return m, nil
		}
		m, asked, err := fetch()
		if err == nil {
			pulled = asked
			c.put(m)
		} else if ctx.Err() != nil { // an error of an ended context says nothing to other callers
			err = endedError{err}
		}
		return m, err
	})
	if err != nil && !mine && ctx.Err() == nil && (contextEnded(err) || ofOtherTag(err, source)) {
		return fetch()
	}
	if err != nil {
		return image.Manifest{}, false, err
	}
	return v.(image.Manifest), pulled, nil //nolint:forcetypeassert // the type that the function above returns
}

// ofOtherTag reports whether an error may concern another tag for which a registry has named the same digest, which it does not have.
func ofOtherTag(err error, source image.Reference) bool {
	if moved, ok := errors.AsType[*image.MovedError](err); ok {
		return moved.Ref != source
	}
	return source.Tag != "" && errors.Is(err, image.ErrAbsent)
}

func (c *manifestCache) put(m image.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[m.Digest]; ok {
		return
	}
	c.byKey[m.Digest] = m
	c.order = append(c.order, m.Digest)
	c.bytes += int64(len(m.Raw))
	for c.bytes > maxCached && len(c.order) > 1 {
		oldest := c.order[0]
		c.order = c.order[1:]
		c.bytes -= int64(len(c.byKey[oldest].Raw))
		delete(c.byKey, oldest)
	}
}
