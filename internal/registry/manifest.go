package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// maxManifest limits a manifest, in bytes. The distribution spec asks registries to accept manifests of 4 MiB.
const maxManifest = 16 << 20

const (
	getManifest = "GET manifest"
	putManifest = "PUT manifest"
)

// manifestPath returns the path of a manifest below /v2/, by its digest if it has one.
func manifestPath(r image.Reference) string {
	if r.Digest != "" {
		return r.Path + "/manifests/" + string(r.Digest)
	}
	return r.Path + "/manifests/" + r.Tag
}

func mismatch(op, host string, want, got image.Digest) error {
	return &Error{
		Host: host, Operation: op, Attempts: 1, ErrorCode: "DIGEST_MISMATCH", Lasting: true, Cause: image.ErrCorrupt,
		Message: fmt.Sprintf("asked for %s, it gave other bytes, with the digest %s", want, got),
	}
}

// Manifest fetches a manifest or an index; one with a digest comes from a mirror that has it. It checks the bytes against the digest, and
// fetches them once more if they differ, since they may have been corrupted on the way. If the reference has a tag as well, and the registry does not
// give the digest, Manifest asks for the tag: what that gives is the manifest if it has the digest; otherwise the error is an *image.MovedError.
func (c *Client) Manifest(ctx context.Context, r image.Reference) (image.Manifest, error) {
	if r.IsLayout() {
		return c.layouts.Manifest(r)
	}
	if m, ok := c.Mirrored(ctx, r); ok {
		return m, nil
	}
	e := c.endpoint(r.Repository)
	m, err := e.manifest(ctx, r, false)
	if errors.Is(err, image.ErrCorrupt) {
		m, err = e.manifest(ctx, r, false)
	}
	if r.Tag != "" && r.Digest != "" && (errors.Is(err, image.ErrAbsent) || refusesDigest(err)) {
		return e.tagged(ctx, r, err)
	}
	return m, err
}

// tagged fetches a manifest by its tag after its digest was refused. Docker Hub and its like serve what they name, so that no pull is lost there.
func (e *endpoint) tagged(ctx context.Context, r image.Reference, refusal error) (image.Manifest, error) {
	m, err := e.manifest(ctx, r.WithDigest(""), false)
	switch {
	case err != nil:
		return image.Manifest{}, refusal
	case m.Digest == r.Digest:
		e.keep(ctx, m)
		return m, nil
	case errors.Is(refusal, image.ErrAbsent):
		return image.Manifest{}, &image.MovedError{Ref: r, Now: m.Descriptor}
	}
	return image.Manifest{}, refusal
}

// refusesDigest reports whether a registry, or a proxy before it, may serve manifests by tag only.
func refusesDigest(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Operation == getManifest && (e.Status == http.StatusBadRequest || e.Status == http.StatusMethodNotAllowed)
}

// manifest fetches it from one registry; once turns retries off, for one of several mirrors.
func (e *endpoint) manifest(ctx context.Context, r image.Reference, once bool) (image.Manifest, error) {
	var m image.Manifest
	read := func(resp *http.Response) error {
		raw, err := readManifest(resp, r.Digest)
		if err != nil {
			return err
		}
		m.Raw, m.Descriptor = raw, image.Descriptor{
			MediaType: typeOf(raw, resp.Header.Get("Content-Type")), Digest: image.DigestOf(raw, r.Digest), Size: int64(len(raw)),
		}
		if m.Digest == r.Digest && m.MediaType != "" {
			e.keep(ctx, m)
		}
		return nil
	}
	req := e.request(ctx, http.MethodGet, manifestPath(r), nil, nil)
	req.Header["Accept"] = accepted
	resp, err := e.auth.Do(req, wire.Call{Operation: getManifest, Deadline: callDeadline, Once: once, Read: read}, auth.Pull(r.Path))
	if err != nil {
		return image.Manifest{}, err
	}
	if r.Digest != "" && m.Digest != r.Digest && isPage(m.Raw) {
		return image.Manifest{}, e.refused(getManifest, image.ErrCorrupt, "it sent no manifest, but %s", kindOf(m.Raw, ""))
	}
	if r.Digest != "" && m.Digest != r.Digest {
		return image.Manifest{}, mismatch(getManifest, e.registry, r.Digest, m.Digest)
	}
	if m.MediaType == "" {
		return image.Manifest{}, e.refused(getManifest, nil, "it sent no manifest, but %s", kindOf(m.Raw, resp.Header.Get("Content-Type")))
	}
	return m, nil
}

// readManifest reads an answer. It decodes a compression that was not asked for, unless the digest is that of the encoded bytes.
func readManifest(resp *http.Response, want image.Digest) ([]byte, error) {
	raw, err := wire.Bounded(resp.Body, maxManifest)
	if err != nil || want != "" && image.DigestOf(raw, want) == want {
		return raw, err
	}
	var coded io.Reader
	switch {
	case bytes.HasPrefix(raw, []byte(gzipMagic)):
		coded, err = gzip.NewReader(bytes.NewReader(raw))
	case wire.CodingOf(resp.Header) == wire.Deflate:
		coded, err = wire.Inflated(bytes.NewReader(raw))
	default:
		return raw, nil
	}
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return wire.Bounded(coded, maxManifest)
}

// isPage reports whether an answer is a web page.
func isPage(raw []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(raw), []byte("<")) }

// kindOf describes what came instead of a manifest.
func kindOf(raw []byte, contentType string) string {
	if isPage(raw) {
		return "a web page: a proxy or gateway on the way may require a sign-in"
	}
	text := fmt.Sprintf("%d bytes of the type %q", len(raw), wire.Clean(contentType))
	var doc map[string]any
	switch err := json.Unmarshal(raw, &doc); {
	case bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")):
		text += ", which begin with a byte order mark"
	case len(raw) == 0:
	case err != nil:
		text += ", which are no JSON object (" + wire.Clean(err.Error()) + ")"
	case doc != nil:
		text += ", whose schemaVersion, mediaType or config clients refuse to read"
	}
	return text
}

// PutManifest pushes a manifest verbatim, by tag if the reference has one, else by digest. What it refers to must exist. If the manifest
// has a subject and the registry no referrers API, PutManifest updates the fallback tag (OCI distribution spec, "Pushing Manifests with
// Subject").
func (c *Client) PutManifest(ctx context.Context, r image.Reference, m image.Manifest) error {
	if r.IsLayout() {
		return c.layouts.PutManifest(ctx, r, m)
	}
	e := c.endpoint(r.Repository)
	if r.Tag != "" {
		r.Digest = ""
	}
	if err := c.proveBlobs(ctx, r.Repository, m); err != nil {
		return err
	}
	header, err := e.putManifest(ctx, r, m.MediaType, m.Raw)
	c.pushed(ctx, e, r)
	switch refusal, ok := errors.AsType[*Error](err); {
	case ok && r.Tag != "" && (rejection{}).of(refusal).immutable() && c.holds(ctx, r, m):
		err = nil
	case err == nil:
		err = c.proveManifest(ctx, r, m, namesManifest(header, m))
	}
	if err != nil {
		return err
	}
	subject := subjectOf(m.Raw)
	if subject == "" || header.Get("OCI-Subject") != "" {
		return nil
	}
	return c.addToList(ctx, r.Repository, subject, m)
}

// namesManifest reports whether the answer to a PUT names the manifest, which only who has read it can.
func namesManifest(header http.Header, m image.Manifest) bool {
	return digestSaid(header) != "" || strings.HasSuffix(header.Get("Location"), "/"+string(image.DigestOf(m.Raw, m.Digest)))
}

// holds reports whether a tag names the manifest, as after a request whose answer was lost.
func (c *Client) holds(ctx context.Context, r image.Reference, m image.Manifest) bool {
	d, err := c.Held(ctx, r)
	return err == nil && d.Digest != "" && d.Digest == image.DigestOf(m.Raw, d.Digest)
}

// proofs is how often a registry is asked for a tag that it has just taken, with a pause before each time but the first: it may need a moment.
const proofs = 3

// proveManifest makes sure that a tag or a digest names the manifest, if the answer to its PUT alone does not show that: something on the way may
// have given that answer. named says that the answer names the manifest, which shows it unless it is the registry's first: that might be given to
// everything. It is believed where dray cannot read, as with an account that may only push.
func (c *Client) proveManifest(ctx context.Context, r image.Reference, m image.Manifest, named bool) error {
	e := c.endpoint(r.Repository)
	if named && !e.proved.Load() {
		answered := make(chan struct{})
		if e.proving.CompareAndSwap(nil, &answered) {
			defer close(answered)
		} else {
			select { // one of several at once asks for all
			case <-*e.proving.Load():
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	if named && e.proved.Load() {
		return nil
	}
	var failure error
	for i := range proofs {
		if err := backoff.Sleep(ctx, time.Duration(i)*time.Second); err != nil {
			return err
		}
		d, err := c.Held(ctx, r)
		switch want := image.DigestOf(m.Raw, d.Digest); {
		case errors.Is(err, image.ErrAbsent):
			failure = e.refused(putManifest, nil, "it says that it has taken the manifest, and does not have it")
		case err != nil && !named:
			return unproved(err)
		case err != nil || d.Digest == want:
			e.proved.Store(true)
			return nil
		default:
			failure = e.hasOther(putManifest, want, d.Digest)
		}
	}
	return failure
}

// unproved is the error of the question that alone could have shown that a registry has a manifest.
func unproved(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	better := *e
	better.Hint = "it took the manifest without naming its digest, so that only this request could show that it has it"
	if errors.Is(err, image.ErrHidden) {
		better.Hint += ": let the account read there"
	}
	return &better
}

func (e *endpoint) putManifest(ctx context.Context, r image.Reference, mediaType string, raw []byte) (http.Header, error) {
	req := e.request(ctx, http.MethodPut, manifestPath(r), nil, raw)
	req.Header.Set("Content-Type", mediaType)
	sent := rejection{manifest: raw, mediaType: mediaType}
	call := wire.Call{Operation: putManifest, Lane: wire.Writes, Deadline: callDeadline, Read: nothing, Final: sent.lasts}
	resp, err := e.auth.Do(req, call, auth.Push(r.Path))
	if err != nil {
		err, _ = sent.advise(err)
		return nil, err
	}
	if said := digestSaid(resp.Header); said != "" && said != image.DigestOf(raw, said) {
		return nil, e.hasOther(putManifest, image.DigestOf(raw, said), said)
	}
	return resp.Header, nil
}
