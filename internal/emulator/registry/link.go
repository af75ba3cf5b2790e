package registry

import "net/http"

// relink makes a manifest that is there, and is PUT by tag, look broken for a while, as docker-registry 2.8 does while it writes the link to
// its bytes anew. What it returns ends that.
func (r *Registry) relink(req *http.Request, to route, digest string) (done func()) {
	if r.options.SlowLinks <= 0 || isDigest(to.reference) || r.Digest(to.repository, digest) == "" {
		return func() {}
	}
	r.content.relink(to.repository, digest, 1)
	wait(req.Context(), r.options.SlowLinks)
	return func() { r.content.relink(to.repository, digest, -1) }
}

func (c *content) relink(repository, digest string, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.repository(repository).relinks[digest] += by
}

func (c *content) relinked(repository, digest string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	repo, found := c.repositories[repository]
	return found && repo.relinks[digest] > 0
}
