package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regclient/regclient/types/referrer"
	"golang.org/x/sync/singleflight"

	"github.com/draysync/dray/internal/image"
)

// Referrers lists what refers to a manifest, by the referrers API and, where the registry has none, by the fallback tag (OCI
// distribution spec, "Listing Referrers").
func (c *Client) Referrers(ctx context.Context, repo image.Repository, d image.Digest) ([]image.Referrer, error) {
	if repo.IsLayout() {
		return c.layouts.Referrers(repo, d)
	}
	e, err := c.endpoint(ctx, repo)
	if err != nil {
		return nil, err
	}
	explored, err := e.referrers.explore(ctx, repo)
	if err != nil {
		return nil, err
	}
	defer explored()
	known, err := e.referrers.get(repo)
	if err != nil {
		return nil, err
	}
	if known == withoutAPI {
		tags, err := c.RecentTags(ctx, repo)
		if err != nil || !slices.Contains(tags, image.ReferrersTag(d)) {
			return nil, err
		}
	}
	var list referrer.ReferrerList
	err = c.run(ctx, call{repo: repo, do: func(ctx context.Context, e *endpoint, _ *place) (err error) {
		guarded, watch := withGuard(ctx)
		watch.noted = func(failure *Error) { e.referrers.learn(repo, failure) }
		watch.lacks = func(tag string) bool {
			tags, ok := c.recent.get(repo)
			return ok && !slices.Contains(tags, tag)
		}
		list, err = e.reg.ReferrerList(guarded, reference(repo.Digest(d)))
		if err := e.referrers.trusted(repo, watch, known); err != nil {
			return err
		}
		return wrap(getReferrers, repo.Registry, err)
	}})
	if errors.Is(err, image.ErrAbsent) || err != nil && strings.Contains(err.Error(), "manifest is not an OCI index") || err == nil && !listed(list) {
		return nil, nil // neither the API nor the fallback tag is there
	}
	if err != nil {
		return nil, err
	}
	var referrers []image.Referrer
	for _, d := range list.Descriptors {
		if d.Digest.Validate() != nil {
			continue
		}
		referrers = append(referrers, image.Referrer{
			Descriptor:   image.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size},
			ArtifactType: d.ArtifactType,
		})
	}
	return referrers, nil
}

// listed tells whether what was found under a tag is a list of referrers: an image may be tagged by its own digest.
func listed(list referrer.ReferrerList) bool {
	if len(list.Tags) == 0 {
		return true // by the API
	}
	raw, err := list.Manifest.RawBody()
	return err == nil && image.ListsReferrers(raw)
}

// getReferrers is the operation of a request to the referrers API.
const getReferrers = "GET referrers"

// trusted returns why the answer to a listing cannot be believed; nil where it can. regclient falls back to the tag after any
// failure of the API, its own or that of another call for the same repository.
func (r *referrersAPI) trusted(repo image.Repository, watch *guard, before support) error {
	if failure := watch.failure(); failure != nil && failure.Operation == getReferrers && !withoutReferrers(failure.Status) {
		return failure
	}
	now, err := r.get(repo)
	if err != nil || watch.askedReferrers() || before == withoutAPI || now == withoutAPI {
		return err
	}
	return &Error{Host: repo.Registry, Operation: getReferrers, Attempts: 1, Message: "the referrers API has just failed", plain: true}
}

// withoutReferrers tells whether an answer of this status says that a registry has no referrers API. The distribution spec has
// 404; registries older than the API refuse the path in other ways.
func withoutReferrers(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// referrersAPI remembers by repository what was learned of the referrers API.
type referrersAPI struct {
	mu    sync.Mutex
	known map[image.Repository]apiState
	// first are the repositories of which somebody is finding out, or has found out, whether they have the API.
	first map[image.Repository]chan struct{}
}

// explore has one call at a time find out about a repository of which nothing is known, so that the others learn from it. The
// caller says when its own question is answered.
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
		return nil, ctx.Err()
	}
}

type apiState struct {
	state support
	until time.Time
	err   error
}

type support int

const (
	unknownAPI support = iota
	withoutAPI
)

// apiMemory is how long regclient, and so this package, takes a registry to be without the API once a call has failed.
const apiMemory = 5 * time.Minute

// get returns what is known, and the error of the last call where that has failed for another reason than a missing API: as
// long as regclient would fall back to tags because of it, an empty answer would mean nothing.
func (r *referrersAPI) get(repo image.Repository) (support, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.known[repo]
	if !ok || time.Now().After(k.until) {
		return unknownAPI, nil
	}
	return k.state, k.err
}

// learn keeps what a failure of the API says of it. A challenge says nothing yet.
func (r *referrersAPI) learn(repo image.Repository, failure *Error) {
	switch {
	case withoutReferrers(failure.Status):
		r.set(repo, apiState{state: withoutAPI})
	case failure.Status != http.StatusUnauthorized:
		r.set(repo, apiState{err: failure})
	}
}

func (r *referrersAPI) set(repo image.Repository, state apiState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[image.Repository]apiState{}
	}
	state.until = time.Now().Add(apiMemory)
	r.known[repo] = state
}

// RecentTags returns the tags of a repository as they were listed within the last minute, or lists them. It serves
// questions to which every image of a repository has the same answer.
func (c *Client) RecentTags(ctx context.Context, repo image.Repository) ([]string, error) {
	if tags, ok := c.recent.get(repo); ok {
		return tags, nil
	}
	tags, err, _ := c.recent.flight.Do(repo.String(), func() (any, error) { return c.tags(ctx, repo) })
	if err != nil {
		return nil, err
	}
	return tags.([]string), nil //nolint:forcetypeassert // what the function above returns
}

// recentTags keeps tag lists for a minute.
type recentTags struct {
	flight singleflight.Group

	mu    sync.Mutex
	lists map[image.Repository]tagList
}

type tagList struct {
	tags []string
	at   time.Time
}

const recentFor = time.Minute

func newRecentTags() *recentTags { return &recentTags{lists: map[image.Repository]tagList{}} }

func (r *recentTags) get(repo image.Repository) ([]string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, ok := r.lists[repo]
	return list.tags, ok && time.Since(list.at) < recentFor
}

func (r *recentTags) put(repo image.Repository, tags []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, list := range r.lists {
		if time.Since(list.at) >= recentFor {
			delete(r.lists, other)
		}
	}
	r.lists[repo] = tagList{tags: tags, at: time.Now()}
}
