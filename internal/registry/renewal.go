package registry

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/draysync/dray/internal/image"
)

// refusedToken tells whether a request failed because the registry does not take the token that came with it. regclient takes any
// token to be good for a minute at least, and asks for no other before, whatever the registry says.
func refusedToken(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusUnauthorized && e.tokenRefused
}

// renew returns an endpoint in place of one whose tokens are no longer taken; another call may have made it already.
func (c *Client) renew(ctx context.Context, repo image.Repository, old *endpoint) (*endpoint, error) {
	c.mu.Lock()
	if c.endpoints[old.key] == old {
		delete(c.endpoints, old.key)
	}
	c.mu.Unlock()
	return c.endpoint(ctx, repo)
}

// denials are the repositories that a new token has not opened either.
type denials struct {
	mu    sync.Mutex
	until map[image.Repository]time.Time
}

// deniedFor is how long no further new token is tried for a repository.
const deniedFor = time.Minute

func (d *denials) lately(repo image.Repository) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.until[repo])
}

func (d *denials) note(repo image.Repository) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until == nil {
		d.until = map[image.Repository]time.Time{}
	}
	d.until[repo] = time.Now().Add(deniedFor)
}
