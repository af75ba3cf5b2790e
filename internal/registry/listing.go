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

// Tags returns all tags of a repository, sorted and each once. Pages are followed by their Link header (OCI distribution
// spec, "Listing Tags"), never to another host.
func (c *Client) Tags(ctx context.Context, repo image.Repository) ([]string, error) {
	if repo.IsLayout() {
		return c.layouts.Tags(repo)
	}
	e, err := c.endpoint(ctx, repo)
	if err != nil {
		return nil, err
	}
	guarded, _ := withGuard(ctx)
	list, err := e.reg.TagList(guarded, reference(image.Reference{Repository: repo}))
	if err != nil {
		return nil, wrap("GET tag list", repo.Registry, err)
	}
	slices.Sort(list.Tags)
	tags := slices.Compact(list.Tags)
	c.recent.put(repo, tags)
	return tags, nil
}

// catalogPage is how many repositories are asked for at once; registries that allow fewer clamp it, or say so by a Link.
const catalogPage = 1000

// Catalog returns the paths of all repositories below prefix, sorted, as far as the registry tells them. Public registries
// mostly do not.
func (c *Client) Catalog(ctx context.Context, prefix image.Repository) ([]string, error) {
	if prefix.IsLayout() {
		return c.layouts.Below(prefix)
	}
	e, err := c.endpoint(ctx, image.Repository{Registry: prefix.Registry})
	if err != nil {
		return nil, err
	}
	ctx, _ = withGuard(ctx)
	var below []string
	last := ""
	for range maxPages {
		options := []scheme.RepoOpts{scheme.WithRepoLimit(catalogPage)}
		if last != "" {
			options = append(options, scheme.WithRepoLast(last))
		}
		list, err := e.reg.RepoList(ctx, prefix.Registry, options...)
		if err != nil {
			return nil, c.noCatalog(prefix.Registry, wrap("GET catalog", prefix.Registry, err))
		}
		names := list.Repositories
		if len(names) == 0 || names[len(names)-1] <= last {
			break // the end, or a registry that does not page and gives the same again
		}
		last = names[len(names)-1]
		for _, name := range names {
			if strings.HasPrefix(name, prefix.Path+"/") {
				below = append(below, name)
			}
		}
	}
	slices.Sort(below)
	return slices.Compact(below), nil
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
