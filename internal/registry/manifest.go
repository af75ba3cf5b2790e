package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/regclient/regclient/types/descriptor"
	"github.com/regclient/regclient/types/manifest"

	"github.com/draysync/dray/internal/image"
)

// The operations of questions for a manifest or a blob.
const (
	headManifest = "HEAD manifest"
	getManifest  = "GET manifest"
	headBlob     = "HEAD blob"
)

// Head returns what a reference stands for by a HEAD request, and by a GET only where the registry refuses HEAD or names no
// digest. The error wraps image.ErrAbsent only where the registry says that there is no such manifest.
func (c *Client) Head(ctx context.Context, r image.Reference) (image.Descriptor, error) {
	if r.IsLayout() {
		return c.layouts.Head(r)
	}
	var m manifest.Manifest
	err := c.run(ctx, call{repo: r.Repository, do: func(ctx context.Context, e *endpoint, _ *place) (err error) {
		m, err = e.reg.ManifestHead(ctx, reference(r))
		return wrap(headManifest, r.Registry, err)
	}})
	if err != nil && !headRefused(err) {
		return image.Descriptor{}, err
	}
	if err == nil {
		if d := m.GetDescriptor(); d.Digest.Validate() == nil {
			if got := otherDigest(m, r); got != "" {
				return image.Descriptor{}, mismatch(headManifest, r.Registry, r.Digest, got)
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

func mismatch(op, host string, want, got image.Digest) error {
	text := fmt.Sprintf("asked for %s, it gave other bytes, with the digest %s", want, got)
	return &Error{
		Host: host, Operation: op, Attempts: 1, ErrorCode: "DIGEST_MISMATCH", Message: text, plain: true,
		cause: permanentError{image.ErrCorrupt},
	}
}

// Manifest fetches a manifest or an index. One with a digest comes from a mirror of the registry where that has it; the bytes are
// checked against the digest, and asked for once more if they are others: they may have been spoilt on the way.
func (c *Client) Manifest(ctx context.Context, r image.Reference) (image.Manifest, error) {
	if r.IsLayout() {
		return c.layouts.Manifest(r)
	}
	if m, ok := c.Mirrored(ctx, r); ok {
		return m, nil
	}
	m, err := c.manifest(ctx, r)
	if errors.Is(err, image.ErrCorrupt) {
		m, err = c.manifest(ctx, r)
	}
	return m, err
}

// wanting is the key under which a context carries the digest of the manifest that is fetched.
type wanting struct{}

// verified returns a manifest whose bytes are those of its digest, before regclient gets to read something else into them.
func verified(req *http.Request, op string, resp *http.Response) (*http.Response, error) {
	want, ok := req.Context().Value(wanting{}).(image.Digest)
	if !ok || req.Method != http.MethodGet || resp.StatusCode != http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read what was read before: %w", err)
	}
	if got := image.DigestOf(raw, want); got != want {
		return nil, mismatch(op, req.URL.Host, want, got)
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	return resp, nil
}

func (c *Client) manifest(ctx context.Context, r image.Reference) (image.Manifest, error) {
	if r.Digest != "" {
		ctx = context.WithValue(ctx, wanting{}, r.Digest)
	}
	var m manifest.Manifest
	var raw []byte
	err := c.run(ctx, call{repo: r.Repository, do: func(ctx context.Context, e *endpoint, _ *place) (err error) {
		if m, err = e.reg.ManifestGet(ctx, reference(r)); err == nil {
			raw, err = m.RawBody()
		}
		return wrap(getManifest, r.Registry, err)
	}})
	if err != nil {
		return image.Manifest{}, err
	}
	d := image.Descriptor{MediaType: m.GetDescriptor().MediaType, Digest: image.DigestOf(raw, r.Digest), Size: int64(len(raw))}
	return image.Manifest{Descriptor: d, Raw: raw}, nil
}

// PutManifest pushes a manifest verbatim, by tag where the reference has one, else by digest. What it refers to has to be
// there. Where the manifest has a subject and the registry no referrers API, the fallback tag is maintained (OCI
// distribution spec, "Pushing Manifests with Subject").
func (c *Client) PutManifest(ctx context.Context, r image.Reference, m image.Manifest) error {
	if r.IsLayout() {
		return c.layouts.PutManifest(ctx, r, m)
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
	put := call{repo: r.Repository, write: true, do: func(ctx context.Context, e *endpoint, _ *place) error {
		return wrap("PUT manifest", r.Registry, e.reg.ManifestPut(ctx, target, body))
	}}
	// regclient writes the fallback tag within, under a lock for which others wait at their places: who holds it has to keep his.
	put.stays = hasSubject(body)
	return c.run(ctx, put)
}

func hasSubject(m manifest.Manifest) bool {
	about, ok := m.(manifest.Subjecter)
	if !ok {
		return false
	}
	subject, err := about.GetSubject()
	return err == nil && subject != nil && subject.Digest != ""
}
