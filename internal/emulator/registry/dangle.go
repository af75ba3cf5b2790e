package registry

// DangleTag points a tag at a digest whose manifest need not be there, as registries were seen to do after an import that
// raced with a push: the tag is listed, and asking for it says that the manifest is unknown.
func (r *Registry) DangleTag(repository, tag, digest string) {
	r.content.mu.Lock()
	defer r.content.mu.Unlock()
	r.content.repository(repository).tags[tag] = digest
}

// Store puts what a registry that checks nothing has under a tag, and returns its digest.
func (r *Registry) Store(repository, tag, mediaType string, body []byte) (digest string) {
	digest = Sum(body)
	r.content.putManifest(repository, tag, digest, storedManifest{mediaType, body})
	return digest
}

// TaggedDigest returns what a tag points at, whether or not that is there; "" for a tag that is not.
func (r *Registry) TaggedDigest(repository, tag string) string {
	r.content.mu.RLock()
	defer r.content.mu.RUnlock()
	if repo, found := r.content.repositories[repository]; found {
		return repo.tags[tag]
	}
	return ""
}
