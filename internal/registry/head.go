package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// Head resolves a reference of a source by HEAD. It sends a GET where HEAD cannot tell: if the registry refuses HEAD, or names no digest or
// media type. The error wraps image.ErrAbsent only if the registry says that the manifest does not exist.
func (c *Client) Head(ctx context.Context, r image.Reference) (d image.Descriptor, err error) {
	if r.IsLayout() {
		return c.layouts.Head(r)
	}
	e := c.endpoint(r.Repository)
	defer func() {
		if err == nil {
			c.noticed(r)
		}
	}()
	if e.head.Load() == useless {
		return c.headByGet(ctx, r, nil)
	}
	d, err = e.headManifest(ctx, r, auth.Pull(r.Path), false)
	switch {
	case err == nil && d.Digest != "" && d.MediaType != "":
		e.head.Store(serves)
		return d, nil
	case err == nil && d.Digest != "":
		if known, ok := c.types.Get(d.Digest); ok {
			return known, nil
		}
		d, err = c.headByGet(ctx, r, nil)
		if err == nil {
			c.types.Put(d.Digest, d, longFor)
		}
		return d, err
	case err == nil || refusesHead(err):
		d, err = c.headByGet(ctx, r, nil)
		if err == nil {
			e.head.Store(useless)
		}
		return d, err
	case !e.inDoubt(err):
		return d, err
	}
	// Some registries and proxies answer HEAD with 400, 401, 403, 404 or 5xx and serve GET. Whether this one does is found out once; a manifest
	// that neither finds shows nothing.
	byGet, getErr := c.headByGet(ctx, r, err)
	switch absent := errors.Is(getErr, image.ErrAbsent); {
	case getErr == nil, absent && !errors.Is(err, image.ErrAbsent):
		if e.failsAgain(ctx, r, err) {
			e.head.CompareAndSwap(unknown, useless)
		}
		return byGet, getErr
	case !absent && !temporary(getErr):
		e.head.CompareAndSwap(unknown, serves)
	}
	return d, err
}

// failsAgain reports whether HEAD, which has failed, fails where GET serves: an outage may be over meanwhile.
func (e *endpoint) failsAgain(ctx context.Context, r image.Reference, err error) bool {
	if outOfOrder(err) {
		_, err = e.headManifest(ctx, r, auth.Pull(r.Path), true)
		return outOfOrder(err)
	}
	return true
}

// outOfOrder reports whether an error is a 5xx that may pass.
func outOfOrder(err error) bool {
	return temporary(err) && statusOf(nil, err) >= http.StatusInternalServerError
}

func temporary(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Temporary()
}

const headManifest = "HEAD manifest"

// headManifest sends the HEAD. Its descriptor lacks what the registry leaves out.
func (e *endpoint) headManifest(ctx context.Context, r image.Reference, need auth.Scope, once bool) (image.Descriptor, error) {
	req := e.request(ctx, http.MethodHead, manifestPath(r), nil, nil)
	req.Header["Accept"] = accepted
	resp, err := e.auth.Do(req, wire.Call{Operation: headManifest, Deadline: callDeadline, Once: once, Read: nothing}, need)
	if err != nil {
		return image.Descriptor{}, err
	}
	_ = resp.Body.Close() // HEAD has no body
	d := image.Descriptor{MediaType: manifestType(resp.Header.Get("Content-Type")), Size: max(resp.ContentLength, 0)}
	named := digestSaid(resp.Header)
	switch {
	case named == "":
	case r.Digest == "" || named.Algorithm() != r.Digest.Algorithm(): // digests of two algorithms cannot be compared
		d.Digest = named
	case named != r.Digest:
		return d, mismatch(headManifest, r.Registry, r.Digest, named)
	}
	if r.Digest != "" {
		d.Digest = r.Digest
	}
	return d, nil
}

// headByGet fetches the manifest to learn what HEAD would say, after it has failed with an error or nil. It tries once if that was tried
// several times.
func (c *Client) headByGet(ctx context.Context, r image.Reference, failure error) (image.Descriptor, error) {
	if temporary(failure) {
		m, err := c.endpoint(r.Repository).manifest(ctx, r, true)
		return m.Descriptor, err
	}
	m, err := c.Manifest(ctx, r)
	return m.Descriptor, err
}

// refusesHead reports whether the registry, or a proxy before it, refuses HEAD.
func refusesHead(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Operation == headManifest && evades(e)
}

// evades reports whether a status leaves open whether there is what was asked for, unless a code says that there is not. 400 to 404 and a
// proxy's 407 are not among them: they may be meant.
func evades(e *Error) bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired:
		return false
	}
	return e.Status == http.StatusNotImplemented || e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests && !e.Temporary()
}

// What is known about a registry's HEAD.
const (
	unknown int32 = iota
	serves
	useless
)

// inDoubt reports whether a refusal may concern HEAD rather than the manifest.
func (h *host) inDoubt(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || h.head.Load() == serves || e.Operation != headManifest || !e.RetryAt().IsZero() {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	}
	return e.Status >= http.StatusInternalServerError && h.wire.Name() != image.DockerHub // whose GETs count, and whose HEAD is known to serve
}
