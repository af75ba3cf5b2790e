package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// Head returns what a reference of a source stands for by a HEAD request. What that cannot tell a GET is asked for: where the registry
// refuses HEAD, names no digest, or no media type. The error wraps image.ErrAbsent only where the registry says that there is no such
// manifest.
func (c *Client) Head(ctx context.Context, r image.Reference) (image.Descriptor, error) {
	if r.IsLayout() {
		return c.layouts.Head(r)
	}
	e := c.endpoint(r.Repository)
	if e.head.Load() == useless {
		return c.headByGet(ctx, r)
	}
	d, err := e.headManifest(ctx, r, auth.Pull(r.Path))
	switch {
	case err == nil && d.Digest != "" && d.MediaType != "":
		e.head.Store(serves)
		return d, nil
	case err == nil && d.Digest != "":
		if known, ok := c.types.Get(d.Digest); ok {
			return known, nil
		}
		d, err = c.headByGet(ctx, r)
		if err == nil {
			c.types.Put(d.Digest, d, longFor)
		}
		return d, err
	case err == nil || refusesHead(err):
		d, err = c.headByGet(ctx, r)
		if err == nil {
			e.head.Store(useless)
		}
		return d, err
	case !e.inDoubt(err):
		return d, err
	}
	// Some proxies answer HEAD with 403 or 404 and serve GET. Whether this one does is found out once.
	byGet, getErr := c.headByGet(ctx, r)
	if getErr == nil {
		e.head.Store(useless)
		return byGet, nil
	}
	e.head.Store(serves)
	return d, err
}

const headManifest = "HEAD manifest"

// headManifest makes the request. Its descriptor lacks what the registry does not say.
func (e *endpoint) headManifest(ctx context.Context, r image.Reference, need auth.Scope) (image.Descriptor, error) {
	req := e.request(ctx, http.MethodHead, manifestPath(r), nil, nil)
	req.Header["Accept"] = accepted
	resp, err := e.auth.Do(req, wire.Call{Operation: headManifest, Deadline: callDeadline, Read: nothing}, need)
	if err != nil {
		return image.Descriptor{}, err
	}
	_ = resp.Body.Close() // of HEAD
	d := image.Descriptor{MediaType: manifestType(resp.Header.Get("Content-Type")), Size: max(resp.ContentLength, 0)}
	named := digestSaid(resp.Header)
	switch {
	case named == "":
	case r.Digest == "" || named.Algorithm() != r.Digest.Algorithm(): // one of another algorithm cannot be compared
		d.Digest = named
	case named != r.Digest:
		return d, mismatch(headManifest, r.Registry, r.Digest, named)
	}
	if r.Digest != "" {
		d.Digest = r.Digest
	}
	return d, nil
}

// headByGet fetches the manifest for what a HEAD would say.
func (c *Client) headByGet(ctx context.Context, r image.Reference) (image.Descriptor, error) {
	m, err := c.Manifest(ctx, r)
	return m.Descriptor, err
}

// refusesHead tells whether the registry, or a proxy before it, says that it takes no HEAD.
func refusesHead(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented)
}

// What is known of a registry's HEAD.
const (
	unknown int32 = iota
	serves
	useless
)

// inDoubt tells whether a refusal may be about HEAD, and not about what was asked for.
func (h *host) inDoubt(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && h.head.Load() == unknown && e.Operation == headManifest && (e.Status == http.StatusForbidden || e.Status == http.StatusNotFound)
}
