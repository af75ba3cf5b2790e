package registry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

const (
	getTags    = "GET tag list"
	getCatalog = "GET catalog"
)

// Tags returns the tags of a repository that keep selects, sorted and without duplicates. It reads the list as a stream: only selected tags
// take memory, and their number is limited.
func (c *Client) Tags(ctx context.Context, repo image.Repository, keep func(tag string) bool) ([]string, error) {
	var all []string
	if err := c.TagPages(ctx, repo, keep, func(tags []string) { all = append(all, tags...) }); err != nil {
		return nil, err
	}
	return sorted(all), nil
}

// TagPages is Tags page by page: it calls each with the selected tags of a page when that has been read to its end, in the order of the registry,
// which may list a tag twice.
func (c *Client) TagPages(ctx context.Context, repo image.Repository, keep func(tag string) bool, each func(tags []string)) error {
	if repo.IsLayout() {
		tags, err := c.layouts.Tags(repo)
		if err == nil {
			each(slices.DeleteFunc(tags, func(tag string) bool { return !keep(tag) }))
		}
		return err
	}
	e := c.endpoint(repo)
	chosen, named, held := gathered{keep: keep}, gathered{keep: image.NamesDigest}, digests{keep: keep, list: c.sumList}
	var query url.Values
	if kindOfHost(repo.Registry) == google {
		_, query = googleLister().place(repo.Path, 1)
	}
	begun, all := time.Now(), 0
	err := pages{endpoint: e, operation: getTags, need: auth.Pull(repo.Path), read: func(page *listing) error {
		chosen.begin()
		named.begin()
		page.held = held.add
		err := page.names("tags", func(tag string) error { all++; return errors.Join(chosen.add(tag), named.add(tag)) })
		all = max(all, page.manifests)
		return err
	}, done: func() {
		each(chosen.page)
		chosen.page = nil
		named.end()
	}}.all(ctx, repo.Path+"/tags/list", query)
	if err != nil {
		return err
	}
	c.named.Put(repo, sorted(named.names), recentFor)
	c.noteSize(ctx, e, repo, all)
	if len(held.said) > 0 {
		kind := google
		e.seen.CompareAndSwap(nil, &kind)
		if !c.options.ByHead[repo.Registry] {
			c.read.put(repo, &held, begun)
		}
	}
	return nil
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// catalogPage is the requested number of repositories per page; registries that allow fewer send fewer, and name the next page.
const catalogPage = 1000

// Catalog returns the paths of all repositories below prefix that keep selects, sorted, as far as the registry lists them. Most public
// registries do not.
func (c *Client) Catalog(ctx context.Context, prefix image.Repository, keep func(path string) bool) ([]string, error) {
	if prefix.IsLayout() {
		paths, err := c.layouts.Below(prefix)
		return slices.DeleteFunc(paths, func(path string) bool { return !keep(path) }), err
	}
	e := c.endpoint(image.Repository{Registry: prefix.Registry})
	var strange string // a name such as "x/../y" would lead elsewhere, at source and target
	below := gathered{keep: func(path string) bool {
		if !strings.HasPrefix(path, prefix.Path+"/") || !keep(path) {
			return false
		}
		if !image.ValidPath(path) {
			strange = path
			return false
		}
		return true
	}}
	begun := false
	err := pages{endpoint: e, operation: getCatalog, need: auth.Catalog, read: func(page *listing) error {
		below.begin()
		return page.names("repositories", below.add)
	}, done: func() { begun = true; below.end() }}.all(ctx, "_catalog", url.Values{"n": {strconv.Itoa(catalogPage)}})
	switch {
	case err != nil && begun:
		return nil, err
	case err != nil:
		return nil, noCatalog(prefix.Registry, err)
	}
	if strange != "" {
		c.options.Log.LogAttrs(ctx, slog.LevelWarn, "passing over repositories whose names are not valid",
			slog.String("registry", prefix.Registry), slog.String("source", wire.Clean(strange)))
	}
	return sorted(below.names), nil
}

// noCatalog says what to do about a refused first page. Many registries have no catalog; a sign-in that is wrong or missing looks the same.
func noCatalog(registry string, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed:
		copied := *e
		copied.Hint = registry + " does not list its repositories: name them one by one, without patterns"
		if e.Hint != "" {
			copied.Hint = e.Hint + "; or " + copied.Hint
		}
		return &copied
	}
	return err
}

// DigestTags returns the tags of a repository that are named for a digest, sorted. It lists them at most once a minute: every image of a
// repository has the same answer, also where that is a refusal.
func (c *Client) DigestTags(ctx context.Context, repo image.Repository) ([]string, error) {
	if tags, ok := c.named.Get(repo); ok {
		return tags, nil
	}
	if refusal, ok := c.unlisted.Get(repo); ok {
		return nil, refusal
	}
	return c.naming.Do(ctx, repo.String(), func(ctx context.Context) ([]string, error) {
		tags, err := c.Tags(ctx, repo, image.NamesDigest)
		if e, ok := errors.AsType[*Error](err); ok && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden || e.Status == http.StatusMethodNotAllowed) {
			c.unlisted.Put(repo, err, recentFor)
		}
		return tags, err
	})
}

// noticed drops the list of a repository's tags that are named for a digest if it lacks one that is there.
func (c *Client) noticed(r image.Reference) {
	if !image.NamesDigest(r.Tag) {
		return
	}
	tags, ok := c.named.Get(r.Repository)
	if _, listed := slices.BinarySearch(tags, r.Tag); ok && !listed {
		c.named.Drop(r.Repository)
	}
}
