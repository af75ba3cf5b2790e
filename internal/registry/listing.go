package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/regclient/regclient/scheme"

	"github.com/draysync/dray/internal/image"
)

// Tags returns those tags of a repository that keep chooses, sorted and each once. Pages are followed by their Link header (OCI distribution
// spec, "Listing Tags"), never to another host.
func (c *Client) Tags(ctx context.Context, repo image.Repository, keep func(tag string) bool) ([]string, error) {
	if repo.IsLayout() {
		tags, err := c.layouts.Tags(repo)
		return kept(tags, keep), err
	}
	tags, err := c.tags(ctx, repo)
	return kept(slices.Clone(tags), keep), err // all of them are remembered
}

func kept(names []string, keep func(string) bool) []string {
	return slices.Clip(slices.DeleteFunc(names, func(name string) bool { return !keep(name) }))
}

func (c *Client) tags(ctx context.Context, repo image.Repository) ([]string, error) {
	var tags []string
	err := c.run(ctx, call{repo: repo, do: func(ctx context.Context, e *endpoint, _ *place) error {
		guarded, _ := withGuard(ctx)
		list, err := e.reg.TagList(guarded, reference(image.Reference{Repository: repo}))
		if err != nil {
			return wrap("GET tag list", repo.Registry, err)
		}
		tags = list.Tags
		return nil
	}})
	if err != nil {
		return nil, err
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	c.recent.put(repo, tags)
	return tags, nil
}

// catalogPage is how many repositories are asked for at once; registries that allow fewer clamp it, or say so by a Link.
const catalogPage = 1000

// Catalog returns the paths of the repositories below prefix that keep chooses, sorted, as far as the registry tells them. Public registries
// mostly do not.
func (c *Client) Catalog(ctx context.Context, prefix image.Repository, keep func(path string) bool) ([]string, error) {
	if prefix.IsLayout() {
		paths, err := c.layouts.Below(prefix)
		return kept(paths, keep), err
	}
	ctx, _ = withGuard(ctx)
	var below []string
	last := ""
	for range maxPages {
		names, err := c.catalog(ctx, prefix.Registry, last)
		if err != nil {
			return nil, c.noCatalog(prefix.Registry, err)
		}
		if len(names) == 0 || names[len(names)-1] <= last {
			break // the end, or a registry that does not page and gives the same again
		}
		last = names[len(names)-1]
		for _, name := range names {
			if strings.HasPrefix(name, prefix.Path+"/") && keep(name) {
				below = append(below, name)
			}
		}
	}
	slices.Sort(below)
	return slices.Compact(below), nil
}

// catalog returns the page of a registry's repositories that comes after one of them.
func (c *Client) catalog(ctx context.Context, registry, last string) (names []string, err error) {
	options := []scheme.RepoOpts{scheme.WithRepoLimit(catalogPage)}
	if last != "" {
		options = append(options, scheme.WithRepoLast(last))
	}
	err = c.run(ctx, call{repo: image.Repository{Registry: registry}, do: func(ctx context.Context, e *endpoint, _ *place) error {
		list, err := e.reg.RepoList(ctx, registry, options...)
		if err != nil {
			return wrap("GET catalog", registry, err)
		}
		names = list.Repositories
		return nil
	}})
	return names, err
}

func (c *Client) noCatalog(registry string, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed:
		copied := *e
		copied.Hint = registry + " does not list its repositories: name them one by one, without patterns"
		copied.Status = http.StatusMethodNotAllowed // whatever it answered, it did not say that the repositories are absent
		return &copied
	}
	return err
}
