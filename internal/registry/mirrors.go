package registry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// mirrors know other registries that serve a registry's content. They are used by digest only, so a stale or hostile mirror costs one
// request and no more. Tags are never resolved there.
type mirrors struct {
	// resting are mirrors that failed, and are left alone for a while.
	resting wire.Recent[string, struct{}]
	// doubted are mirrors that served a wrong or broken blob; it comes from the next mirror.
	doubted wire.Recent[mirroredBlob, struct{}]
	// served are the mirrors that served a blob last.
	served wire.Recent[image.Digest, string]
}

type mirroredBlob struct {
	digest   image.Digest
	registry string
}

const (
	// mirrorRests is how long a failed mirror is left alone, mirrorPatience how long one may take to begin an answer.
	mirrorRests    = time.Minute
	mirrorPatience = 15 * time.Second
)

// mirrored returns the repositories at mirrors in use that may have the content of another, in the order of the config. A mirror whose path
// ends with "/library" holds Docker's official images only.
func (c *Client) mirrored(repo image.Repository) []image.Repository {
	var list []image.Repository
	for _, prefix := range c.options.Mirrors[repo.Registry] {
		host, path, _ := strings.Cut(prefix, "/")
		below := repo.Path
		if repo.Registry == image.DockerHub && (path == "library" || strings.HasSuffix(path, "/library")) {
			official := false
			if below, official = strings.CutPrefix(repo.Path, "library/"); !official {
				continue
			}
		}
		if path != "" {
			below = path + "/" + below
		}
		if _, rests := c.mirrors.resting.Get(host); !rests {
			list = append(list, image.Repository{Registry: host, Path: below})
		}
	}
	return list
}

// failed leaves a mirror alone for a while, unless it only said that it lacks the object.
func (c *Client) failed(ctx context.Context, repo image.Repository, err error) {
	if errors.Is(err, image.ErrAbsent) || ctx.Err() != nil {
		return
	}
	now := time.Now()
	until := now.Add(mirrorRests)
	if later, ok := errors.AsType[interface {
		error
		RetryAt() time.Time
	}](err); ok && later.RetryAt().After(until) {
		until = later.RetryAt()
	}
	c.mirrors.resting.Put(repo.Registry, struct{}{}, until.Sub(now))
	c.options.Log.LogAttrs(ctx, slog.LevelWarn, "a mirror is not used for a while", slog.String("registry", repo.Registry),
		slog.Any("err", err), slog.Time("retry_at", until))
}

// Mirrored fetches a manifest by digest from a mirror of its registry; false if none has it.
func (c *Client) Mirrored(ctx context.Context, r image.Reference) (image.Manifest, bool) {
	if r.IsLayout() || r.Digest == "" {
		return image.Manifest{}, false
	}
	for _, repo := range c.mirrored(r.Repository) {
		m, err := c.mirroredManifest(ctx, repo.Digest(r.Digest))
		if err == nil {
			m.Via = repo.Registry
			return m, true
		}
		if ctx.Err() != nil {
			break
		}
		c.failed(ctx, repo, err)
	}
	return image.Manifest{}, false
}

func (c *Client) mirroredManifest(ctx context.Context, r image.Reference) (image.Manifest, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, mirrorPatience, errSlowMirror)
	defer cancel()
	return c.endpoint(r.Repository).manifest(ctx, r, true)
}

var errSlowMirror = errors.New("it takes too long to answer")

// openMirrored opens a blob at a mirror; nil if none has it.
func (c *Client) openMirrored(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64) io.ReadCloser {
	for _, mirror := range c.mirrored(repo) {
		if _, doubted := c.mirrors.doubted.Get(mirroredBlob{d.Digest, mirror.Registry}); doubted {
			continue
		}
		body, err := c.openHurried(ctx, mirror, d, offset)
		if err == nil {
			c.mirrors.served.Put(d.Digest, mirror.Registry, longFor)
			return body
		}
		if ctx.Err() != nil {
			break
		}
		c.failed(ctx, mirror, err)
	}
	return nil
}

// Doubt reports that the bytes of a blob did not match its digest. If they came from a mirror, later downloads use the next one.
func (c *Client) Doubt(d image.Digest) {
	if last, ok := c.mirrors.served.Get(d); ok {
		c.mirrors.doubted.Put(mirroredBlob{d, last}, struct{}{}, longFor)
	}
}

// openHurried opens a blob if the answer begins soon; the blob itself may take its time.
func (c *Client) openHurried(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64) (io.ReadCloser, error) {
	e := c.endpoint(repo)
	asked := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	patience := time.AfterFunc(mirrorPatience, func() { cancel(errSlowMirror) })
	body, err := e.download(ctx, e.request(ctx, http.MethodGet, blobPath(repo, d.Digest), nil, nil), repo, d, offset, true)
	if !patience.Stop() && err == nil {
		_ = body.Close() // its context has ended
		err = errSlowMirror
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &mirroredBody{ReadCloser: body, cancel: cancel, doubt: func() {
		if asked.Err() == nil { // otherwise no one waits for it any more
			c.mirrors.doubted.Put(mirroredBlob{d.Digest, repo.Registry}, struct{}{}, longFor)
		}
	}}, nil
}

// mirroredBody is a blob from a mirror. If it breaks off, the rest comes from the next mirror.
type mirroredBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
	doubt  func()
}

// Read implements io.Reader.
func (b *mirroredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF { // one that wraps io.EOF is a broken body
		b.doubt()
	}
	return n, err
}

// Close closes the body.
func (b *mirroredBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
