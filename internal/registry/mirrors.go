package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
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
	// asked is how often a blob was asked for. One that is asked for again was not good enough the last time: it comes from the next
	// place.
	asked map[image.Digest]int
}

const (
	// mirrorRests is how long a mirror is left alone that failed, mirrorPatience how long one may take to begin an answer.
	mirrorRests    = time.Minute
	mirrorPatience = 15 * time.Second
	// maxAsked bounds the blobs that are remembered.
	maxAsked = 20_000
)

func newMirrors() *mirrors {
	return &mirrors{resting: map[string]time.Time{}, asked: map[image.Digest]int{}}
}

// hurried is the key under which a context says that a request is made once, since there is another place to ask.
type hurried struct{}

// mirrored returns the repositories that may have the content of another, in the order of the config: those of mirrors that are in use
// now. A mirror whose path ends with "/library" holds Docker's official images only.
func (c *Client) mirrored(repo image.Repository) []image.Repository {
	var list []image.Repository
	for _, prefix := range c.options.Hosts[repo.Registry].Mirrors {
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
	ctx, cancel := context.WithTimeoutCause(context.WithValue(ctx, hurried{}, true), mirrorPatience, errSlowMirror)
	defer cancel()
	m, err := c.manifest(ctx, r)
	if err == nil && !says(m) {
		err = errMediaType
	}
	return m, err
}

var (
	errSlowMirror = errors.New("it takes too long to answer")
	errMediaType  = errors.New("it gives a manifest with another media type than its content says")
)

// says tells whether the content of a manifest agrees with the media type that came in a header, which no digest covers.
func says(m image.Manifest) bool {
	var content struct {
		MediaType string           `json:"mediaType"`
		Manifests *json.RawMessage `json:"manifests"`
	}
	if json.Unmarshal(m.Raw, &content) != nil {
		return false
	}
	return (content.MediaType == "" || content.MediaType == m.MediaType) && (content.Manifests != nil) == image.IsIndex(m.MediaType)
}

// openMirrored opens a blob at a mirror; nil where none has it.
func (c *Client) openMirrored(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64) io.ReadCloser {
	list := c.mirrored(repo)
	if len(list) == 0 {
		return nil
	}
	for _, place := range list[min(c.mirrors.again(d.Digest), len(list)):] {
		body, err := c.openHurried(ctx, place, d, offset)
		if err == nil {
			return body
		}
		if ctx.Err() != nil {
			break
		}
		c.failed(ctx, place, err)
	}
	return nil
}

// again counts how often a blob is asked for, and returns how often it was before.
func (m *mirrors) again(d image.Digest) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.asked) >= maxAsked {
		clear(m.asked)
	}
	m.asked[d]++
	return m.asked[d] - 1
}

// openHurried opens a blob where the answer begins soon; the blob itself may take its time.
func (c *Client) openHurried(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, hurried{}, true))
	patience := time.AfterFunc(mirrorPatience, func() { cancel(errSlowMirror) })
	body, err := c.openBlob(ctx, repo, d, offset, nil)
	if !patience.Stop() && err == nil {
		_ = body.Close() // its context has ended
		err = errSlowMirror
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &endingBody{body, cancel}, nil
}

// endingBody ends a context with the body that needs it.
type endingBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

// Close closes the body.
func (b *endingBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
