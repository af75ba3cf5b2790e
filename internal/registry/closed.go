package registry

import (
	"sync"
	"time"

	"github.com/draysync/dray/internal/image"
)

// closedFor is how long a repository that takes nothing is not asked again.
const closedFor = time.Minute

// closed remembers repositories that take nothing, such as those of a pull-through cache: what goes for one blob goes for all.
type closed struct {
	mu    sync.Mutex
	known map[image.Repository]closure
}

type closure struct {
	until time.Time
	err   error
}

// check returns why a repository takes nothing; nil where that is not known, or is old.
func (c *closed) check(repo image.Repository) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.known[repo]; ok && time.Now().Before(known.until) {
		return known.err
	}
	return nil
}

// note keeps an error that says so.
func (c *closed) note(repo image.Repository, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[image.Repository]closure{}
	}
	c.known[repo] = closure{until: time.Now().Add(closedFor), err: err}
}
