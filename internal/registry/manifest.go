package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/regclient/regclient/types/descriptor"
	"github.com/regclient/regclient/types/manifest"

	"github.com/draysync/dray/internal/image"
)

// Head returns what a reference stands for by a HEAD request, and by a GET only where the registry refuses HEAD or names no
// digest. The error wraps image.ErrAbsent only where the registry says that there is no such manifest.
func (c *Client) Head(ctx context.Context, r image.Reference) (image.Descriptor, error) {
	if r.IsLayout() {
		return c.layouts.Head(r)
	}
	e, err := c.endpoint(ctx, r.Repository)
	if err != nil {
		return image.Descriptor{}, err
	}
	m, err := e.reg.ManifestHead(ctx, reference(r))
	if err = wrap("HEAD manifest", r.Registry, err); err != nil && !headRefused(err) {
		return image.Descriptor{}, err
	}
	if err == nil {
		if d := m.GetDescriptor(); d.Digest.Validate() == nil {
			if got := otherDigest(m, r); got != "" {
				return image.Descriptor{}, mismatch("HEAD manifest", r, got)
			}
			return image.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, nil
		}
	}
	full, err := c.Manifest(ctx, r)
	return full.Descriptor, err
}

// otherDigest returns the digest that the registry names in place of the one that was asked for; empty for none. regclient
// believes the request. One of another algorithm cannot be compared.
func otherDigest(m manifest.Manifest, r image.Reference) image.Digest {
	header, err := m.RawHeaders()
	if err != nil || r.Digest == "" {
		return ""
	}
	got, err := image.ParseDigest(header.Get("Docker-Content-Digest"))
	if err != nil || got == r.Digest || got.Algorithm() != r.Digest.Algorithm() {
		return ""
	}
	return got
}

// headRefused tells whether the registry, or a proxy before it, takes no HEAD.
func headRefused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented)
}

func mismatch(op string, r image.Reference, got image.Digest) error {
	text := fmt.Sprintf("asked for %s, it gave %s", r.Digest, got)
	return &Error{
		Host: r.Registry, Operation: op, Attempts: 1, ErrorCode: "DIGEST_MISMATCH", Message: text, plain: true,
		cause: permanentError{image.ErrCorrupt},
	}
}

// Manifest fetches a manifest or an index. Where the reference has a digest, the bytes are checked against it.
func (c *Client) Manifest(ctx context.Context, r image.Reference) (image.Manifest, error) {
	if r.IsLayout() {
		return c.layouts.Manifest(r)
	}
	e, err := c.endpoint(ctx, r.Repository)
	if err != nil {
		return image.Manifest{}, err
	}
	m, err := e.reg.ManifestGet(ctx, reference(r))
	if err != nil {
		return image.Manifest{}, wrap("GET manifest", r.Registry, err)
	}
	raw, err := m.RawBody()
	if err != nil {
		return image.Manifest{}, wrap("GET manifest", r.Registry, err)
	}
	d := m.GetDescriptor()
	got := image.DigestOf(raw, r.Digest)
	if r.Digest != "" && got != r.Digest {
		return image.Manifest{}, mismatch("GET manifest", r, got)
	}
	return image.Manifest{Descriptor: image.Descriptor{MediaType: d.MediaType, Digest: got, Size: int64(len(raw))}, Raw: raw}, nil
}

// PutManifest pushes a manifest verbatim, by tag where the reference has one, else by digest. What it refers to has to be
// there. Where the manifest has a subject and the registry no referrers API, the fallback tag is maintained (OCI
// distribution spec, "Pushing Manifests with Subject").
func (c *Client) PutManifest(ctx context.Context, r image.Reference, m image.Manifest) error {
	if r.IsLayout() {
		return c.layouts.PutManifest(r, m)
	}
	e, err := c.endpoint(ctx, r.Repository)
	if err != nil {
		return err
	}
	body, err := manifest.New(manifest.WithRaw(m.Raw), manifest.WithDesc(descriptor.Descriptor{
		MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Raw)),
	}))
	if err != nil {
		return wrap("PUT manifest", r.Registry, err)
	}
	target := reference(r)
	if r.Tag != "" {
		target.Tag, target.Digest = r.Tag, ""
	}
	return wrap("PUT manifest", r.Registry, e.reg.ManifestPut(ctx, target, body))
}
