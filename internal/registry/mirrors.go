package registry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/draysync/dray/internal/image"
)

// mirrors know where the content of registries can be had as well: by digest, so that a mirror that is stale or hostile costs a request
// and no more. What a tag stands for is never asked there.
type mirrors struct {
	mu sync.Mutex
	// resting are those that failed, with the time until which they are left alone.
	resting map[string]time.Time
	// doubted are the mirrors that gave a blob which was not good enough: it comes from the next place.
	doubted map[image.Digest]map[string]bool
	// served are the mirrors that gave a blob last.
	served map[image.Digest]string
}

const (
	// mirrorRests is how long a mirror is left alone that failed, mirrorPatience how long one may take to begin an answer.
	mirrorRests    = time.Minute
	mirrorPatience = 15 * time.Second
	// maxMirrored bounds the blobs that are remembered.
	maxMirrored = 20_000
)

func newMirrors() *mirrors {
	return &mirrors{resting: map[string]time.Time{}, doubted: map[image.Digest]map[string]bool{}, served: map[image.Digest]string{}}
}

// mirrored returns the repositories that may have the content of another, in the order of the config: those of mirrors that are in use
// now. A mirror whose path ends with "/library" holds Docker's official images only.
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
		if c.mirrors.usable(host) {
			list = append(list, image.Repository{Registry: host, Path: below})
		}
	}
	return list
}

func (m *mirrors) usable(host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !time.Now().Before(m.resting[host])
}

// failed leaves a mirror alone for a while, unless all that it said is that it does not have what was asked for.
func (c *Client) failed(ctx context.Context, repo image.Repository, err error) {
	if errors.Is(err, image.ErrAbsent) || ctx.Err() != nil {
		return
	}
	until := time.Now().Add(mirrorRests)
	if later, ok := errors.AsType[interface {
		error
		RetryAt() time.Time
	}](err); ok && later.RetryAt().After(until) {
		until = later.RetryAt()
	}
	c.mirrors.mu.Lock()
	c.mirrors.resting[repo.Registry] = until
	c.mirrors.mu.Unlock()
	c.options.Log.LogAttrs(ctx, slog.LevelWarn, "a mirror is not used for a while", slog.String("registry", repo.Registry),
		slog.Any("err", err), slog.Time("retry_at", until))
}

// Mirrored fetches a manifest by its digest from a mirror of its registry; false where none has it.
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
	e, err := c.endpoint(r.Repository)
	if err != nil {
		return image.Manifest{}, err
	}
	return e.manifest(ctx, r, true)
}

var errSlowMirror = errors.New("it takes too long to answer")

// openMirrored opens a blob at a mirror; nil where none has it.
func (c *Client) openMirrored(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64) io.ReadCloser {
	for _, place := range c.mirrored(repo) {
		if c.mirrors.doubts(d.Digest, place.Registry) {
			continue
		}
		body, err := c.openHurried(ctx, place, d, offset)
		if err == nil {
			c.mirrors.gave(d.Digest, place.Registry)
			return body
		}
		if ctx.Err() != nil {
			break
		}
		c.failed(ctx, place, err)
	}
	return nil
}

// Doubt says that the bytes of a blob were others than its digest's: where they came from a mirror they come from the next place from now
// on.
func (c *Client) Doubt(d image.Digest) {
	c.mirrors.mu.Lock()
	last := c.mirrors.served[d]
	c.mirrors.mu.Unlock()
	c.mirrors.doubt(d, last)
}

func (m *mirrors) gave(d image.Digest, registry string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.served) >= maxMirrored {
		clear(m.served)
	}
	m.served[d] = registry
}

func (m *mirrors) doubts(d image.Digest, registry string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doubted[d][registry]
}

func (m *mirrors) doubt(d image.Digest, registry string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if registry == "" {
		return
	}
	if len(m.doubted) >= maxMirrored {
		clear(m.doubted)
	}
	if m.doubted[d] == nil {
		m.doubted[d] = map[string]bool{}
	}
	m.doubted[d][registry] = true
}

// openHurried opens a blob where the answer begins soon; the blob itself may take its time.
func (c *Client) openHurried(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64) (io.ReadCloser, error) {
	e, err := c.endpoint(repo)
	if err != nil {
		return nil, err
	}
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
		if asked.Err() == nil { // else nobody waits for it any more
			c.mirrors.doubt(d.Digest, repo.Registry)
		}
	}}, nil
}

// mirroredBody is a blob that comes from a mirror. One that breaks off comes from the next place.
type mirroredBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
	doubt  func()
}

// Read implements io.Reader.
func (b *mirroredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF { // one that wraps io.EOF is a torn body
		b.doubt()
	}
	return n, err
}

// Close closes the body.
func (b *mirroredBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
