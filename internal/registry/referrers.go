package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// getReferrers is the operation of a request to the referrers API.
const getReferrers = "GET referrers"

// Referrers lists the referrers of a manifest, by the referrers API or, if the registry has none, by the fallback tag (OCI distribution
// spec, "Listing Referrers").
func (c *Client) Referrers(ctx context.Context, repo image.Repository, d image.Digest) ([]image.Referrer, error) {
	return c.referrers(ctx, repo, d, false)
}

// ReferrersNow is Referrers for a manifest to which something may refer since a moment ago: no list of tags that was read before decides, but a HEAD of
// the fallback tag.
func (c *Client) ReferrersNow(ctx context.Context, repo image.Repository, d image.Digest) ([]image.Referrer, error) {
	return c.referrers(ctx, repo, d, true)
}

func (c *Client) referrers(ctx context.Context, repo image.Repository, d image.Digest, now bool) ([]image.Referrer, error) {
	if repo.IsLayout() {
		return c.layouts.Referrers(repo, d)
	}
	e := c.endpoint(repo)
	explored, err := e.referrers.explore(ctx, repo)
	if err != nil {
		return nil, err
	}
	defer explored()
	if _, lacks := e.referrers.lacks.Get(repo); !lacks {
		list, err := e.askReferrers(ctx, repo, d)
		if !lacksReferrers(err) {
			return list, withoutReferrers(err)
		}
		c.fallsBack(ctx, e, repo, err)
	}
	tag := image.ReferrersTag(d)
	var tags []string
	if !now {
		tags, err = c.DigestTags(ctx, repo)
	}
	if now || err != nil && ctx.Err() == nil && !errors.Is(err, image.ErrAbsent) { // not every account may list tags
		if _, err = c.Head(ctx, repo.Tag(tag)); err == nil {
			tags = []string{tag}
		}
	}
	if errors.Is(err, image.ErrAbsent) {
		return nil, nil
	}
	if err != nil || !slices.Contains(tags, tag) {
		return nil, err
	}
	_, referrers, err := e.fallback(ctx, repo, d)
	if errors.Is(err, image.ErrAbsent) {
		return nil, nil // gone since the tags were listed
	}
	return referrers, err
}

// withoutReferrers adds the way out to the error of a registry that cannot list referrers now.
func withoutReferrers(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Operation != getReferrers || e.Hint != "" || !e.NotBefore.IsZero() {
		return err
	}
	better := *e
	better.Hint = "if that lasts, referrers: false in the mapping imports images without what refers to them"
	return &better
}

// fallsBack records that a registry has no referrers API. It logs once if that hides something: a refusal may concern this account only.
func (c *Client) fallsBack(ctx context.Context, e *endpoint, repo image.Repository, err error) {
	e.referrers.lacks.Put(repo, struct{}{}, apiMemory)
	known, ok := errors.AsType[*Error](err)
	if !ok || known.Status == http.StatusNotFound || known.Status == http.StatusBadRequest || known.Status == http.StatusMethodNotAllowed || known.Status == http.StatusNotImplemented {
		return
	}
	if !e.referrers.said.Swap(true) {
		c.options.Log.LogAttrs(ctx, slog.LevelWarn, "the registry does not let referrers be listed; only those that tags name are looked for",
			slog.String("registry", repo.Registry), slog.Any("err", err))
	}
}

// askReferrers asks the referrers API, page by page.
func (e *endpoint) askReferrers(ctx context.Context, repo image.Repository, d image.Digest) ([]image.Referrer, error) {
	var list, page []image.Referrer
	err := pages{endpoint: e, operation: getReferrers, accept: image.MediaTypeOCIIndex, need: auth.Pull(repo.Path), read: func(l *listing) (err error) {
		raw, err := wire.Bounded(l, maxManifest)
		if err != nil {
			return err //nolint:wrapcheck // the wire says what broke
		}
		page, err = referrersOf(raw, l.contentType)
		l.hashed = true
		for _, r := range page {
			l.note(string(r.Digest))
		}
		if err != nil || len(list)+len(page) <= maxReferrers {
			return err
		}
		return fmt.Errorf("more than %d manifests refer to it: %w", maxReferrers, wire.ErrTooLong)
	}, done: func() { list = append(list, page...) }}.all(ctx, repo.Path+"/referrers/"+string(d), nil)
	return list, err
}

// maxReferrers limits the referrers of one manifest.
const maxReferrers = 100_000

// errBrowserPage reports an HTML page instead of an answer.
var errBrowserPage = errors.New("it answered with a web page")

// errEmptyAnswer reports an answer that is empty, or an empty object, where an index is due.
var errEmptyAnswer = errors.New("its answer is empty")

// referrersOf reads an index of referrers.
func referrersOf(raw []byte, contentType string) ([]image.Referrer, error) {
	var index struct {
		Manifests json.RawMessage `json:"manifests"`
	}
	var manifests []struct {
		MediaType    string          `json:"mediaType"`
		Digest       string          `json:"digest"`
		Size         int64           `json:"size"`
		ArtifactType string          `json:"artifactType"`
		Annotations  json.RawMessage `json:"annotations"`
	}
	err := json.Unmarshal(raw, &index)
	if err != nil || json.Unmarshal(index.Manifests, &manifests) != nil { // null is an empty list; a missing field is none
		if strings.Contains(contentType, "html") || strings.HasPrefix(strings.TrimSpace(string(raw[:min(len(raw), 100)])), "<") {
			return nil, errBrowserPage
		}
		if text := strings.TrimSpace(string(raw)); text == "" || text == "{}" {
			return nil, errEmptyAnswer
		}
		if err != nil && strings.Contains(err.Error(), "unexpected end") {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, errors.New("its answer is not a referrers list")
	}
	var list []image.Referrer
	for _, m := range manifests {
		digest, err := image.ParseDigest(m.Digest)
		if err != nil {
			continue
		}
		list = append(list, image.Referrer{
			Descriptor: image.Descriptor{MediaType: m.MediaType, Digest: digest, Size: m.Size}, ArtifactType: m.ArtifactType, Predicate: predicateOf(m.Annotations),
		})
	}
	return list, nil
}

// predicateOf reads the annotation that says what a Sigstore bundle holds; empty if there is none.
func predicateOf(annotations json.RawMessage) string {
	var known map[string]json.RawMessage
	var predicate string
	if json.Unmarshal(annotations, &known) == nil {
		_ = json.Unmarshal(known[image.PredicateAnnotation], &predicate) // a hint
	}
	return predicate
}

// lacksReferrers reports whether an answer says that the registry has no referrers API. The distribution spec has 404; registries older
// than the API refuse the path in other ways, and so do proxies that do not know it.
func lacksReferrers(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Operation != getReferrers {
		return false
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusUnauthorized,
		http.StatusForbidden, http.StatusNotAcceptable, http.StatusGone, http.StatusUnsupportedMediaType:
		return true
	}
	return errors.Is(err, errBrowserPage) || errors.Is(err, errEmptyAnswer)
}

// referrersAPI remembers for which repositories a registry lists no referrers.
type referrersAPI struct {
	lacks wire.Recent[image.Repository, struct{}]

	mu sync.Mutex
	// first are the repositories whose support of the API is being found out, or is known.
	first map[image.Repository]chan struct{}
	said  atomic.Bool
}

// apiMemory is how long a repository is assumed to lack the API.
const apiMemory = 5 * time.Minute

// explore lets one call at a time ask about an unknown repository, so that the others learn from it. The caller reports when its question
// is answered.
func (r *referrersAPI) explore(ctx context.Context, repo image.Repository) (explored func(), err error) {
	r.mu.Lock()
	known, ok := r.first[repo]
	if !ok {
		if r.first == nil {
			r.first = map[image.Repository]chan struct{}{}
		}
		known = make(chan struct{})
		r.first[repo] = known
		r.mu.Unlock()
		return func() { close(known) }, nil
	}
	r.mu.Unlock()
	select {
	case <-known:
		return func() {}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
