package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// content is what a registry holds. The lock is never held while bytes travel; stored bytes are never changed.
type content struct {
	mu           sync.RWMutex
	repositories map[string]*repository
}

type repository struct {
	blobs     map[string][]byte
	manifests map[string]storedManifest // by digest
	tags      map[string]string         // to a digest
	relinks   map[string]int            // how often the manifest of a digest is being linked anew
}

type storedManifest struct {
	mediaType string
	body      []byte
}

// Sum returns the digest of data, "sha256:…".
func Sum(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// isDigest tells a digest from a tag, which has no colon.
func isDigest(reference string) bool { return strings.Contains(reference, ":") }

// repository returns the repository, made when missing; the caller holds the write lock.
func (c *content) repository(name string) *repository {
	repo, found := c.repositories[name]
	if !found {
		repo = &repository{
			blobs: map[string][]byte{}, manifests: map[string]storedManifest{}, tags: map[string]string{}, relinks: map[string]int{},
		}
		c.repositories[name] = repo
	}
	return repo
}

func (c *content) putBlob(name, digest string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.repository(name).blobs[digest] = data
}

func (c *content) blob(name, digest string) (data []byte, found bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if repo, known := c.repositories[name]; known {
		data, found = repo.blobs[digest]
	}
	return data, found
}

// mount shares a blob of one repository with another.
func (c *content) mount(from, to, digest string) bool {
	data, found := c.blob(from, digest)
	if found {
		c.putBlob(to, digest, data)
	}
	return found
}

// manifest resolves a tag or a digest.
func (c *content) manifest(name, reference string) (digest string, m storedManifest, found bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	repo, known := c.repositories[name]
	if !known {
		return "", m, false
	}
	digest = reference
	if !isDigest(reference) {
		digest = repo.tags[reference]
	}
	m, found = repo.manifests[digest]
	return digest, m, found
}

func (c *content) putManifest(name, reference, digest string, m storedManifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	repo := c.repository(name)
	repo.manifests[digest] = m
	if !isDigest(reference) {
		repo.tags[reference] = digest
	}
}

// has tells whether a repository is there.
func (c *content) has(name string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, found := c.repositories[name]
	return found
}

// names lists the repositories, sorted.
func (c *content) names() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Sorted(maps.Keys(c.repositories))
}

// tagged tells whether a tag holds a digest.
func (c *content) tagged(name, digest string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	repo, known := c.repositories[name]
	return known && slices.Contains(slices.Collect(maps.Values(repo.tags)), digest)
}

// bySHA512 returns the digest by SHA-256 of a manifest, or what it was asked for if there is none.
func (c *content) bySHA512(name, digest string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if repo, known := c.repositories[name]; known {
		for other, m := range repo.manifests {
			if sum512(m.body) == digest {
				return other
			}
		}
	}
	return digest
}

// named tells whether a manifest of a repository names a blob.
func (c *content) named(name, digest string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, m := range c.repositories[name].manifests {
		if bytes.Contains(m.body, []byte(digest)) {
			return true
		}
	}
	return false
}

// tags lists a repository's tags, sorted.
func (c *content) tags(name string) (tags []string, found bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	repo, found := c.repositories[name]
	if !found {
		return nil, false
	}
	return slices.Sorted(maps.Keys(repo.tags)), true
}

// digests lists a repository's manifests, sorted.
func (c *content) digests(name string) []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	repo, found := c.repositories[name]
	if !found {
		return nil
	}
	return slices.Sorted(maps.Keys(repo.manifests))
}

// Repositories lists the repositories, sorted.
func (r *Registry) Repositories() []string { return r.content.names() }

// Tags lists a repository's tags, sorted; nil for an unknown repository.
func (r *Registry) Tags(repository string) []string {
	tags, _ := r.content.tags(repository)
	return tags
}

// Digest returns what a tag or digest leads to, and "" when that is nothing.
func (r *Registry) Digest(repository, reference string) string {
	digest, _, found := r.content.manifest(repository, reference)
	if !found {
		return ""
	}
	return digest
}

// Manifest returns a manifest by tag or digest. The body is the stored one: do not write to it.
func (r *Registry) Manifest(repository, reference string) (mediaType string, body []byte, found bool) {
	_, m, found := r.content.manifest(repository, reference)
	return m.mediaType, m.body, found
}

// HasBlob says whether a repository holds a blob, by upload or by mount.
func (r *Registry) HasBlob(repository, digest string) bool {
	_, found := r.content.blob(repository, digest)
	return found
}

// PutBlob stores data, which the caller must not change afterwards, without a request, and returns its digest.
func (r *Registry) PutBlob(repository string, data []byte) (digest string) {
	digest = Sum(data)
	r.content.putBlob(repository, digest, data)
	return digest
}

// PutManifest stores a manifest under a tag, or by its digest alone when reference is "". It checks what a client's PUT
// is checked for, and sends no request.
func (r *Registry) PutManifest(repository, reference, mediaType string, body []byte) (digest string, err error) {
	digest = Sum(body)
	if reference == "" {
		reference = digest
	}
	if refusal := r.checkManifest(repository, reference, mediaType, body); refusal != nil {
		return "", fmt.Errorf("put %s:%s: %s: %s", repository, reference, refusal.code, refusal.message)
	}
	r.content.putManifest(repository, reference, digest, storedManifest{mediaType, bytes.Clone(body)})
	return digest, nil
}

// PutTag moves a tag, or makes it, to a manifest of the same repository.
func (r *Registry) PutTag(repository, tag, digest string) error {
	r.content.mu.Lock()
	defer r.content.mu.Unlock()
	repo := r.content.repository(repository)
	if _, found := repo.manifests[digest]; !found {
		return fmt.Errorf("tag %s:%s: manifest %s is not there", repository, tag, digest)
	}
	repo.tags[tag] = digest
	return nil
}

// DeleteTag removes a tag, and leaves the manifest; it reports whether the tag was there.
func (r *Registry) DeleteTag(repository, tag string) bool {
	r.content.mu.Lock()
	defer r.content.mu.Unlock()
	repo := r.content.repository(repository)
	_, found := repo.tags[tag]
	delete(repo.tags, tag)
	return found
}

// DeleteManifest removes a manifest by digest and all its tags, but nothing that refers to it; it reports whether the
// manifest was there.
func (r *Registry) DeleteManifest(repository, digest string) bool {
	r.content.mu.Lock()
	defer r.content.mu.Unlock()
	repo := r.content.repository(repository)
	_, found := repo.manifests[digest]
	delete(repo.manifests, digest)
	maps.DeleteFunc(repo.tags, func(_, tagged string) bool { return tagged == digest })
	return found
}

// DeleteBlob removes a blob from one repository; it reports whether the blob was there.
func (r *Registry) DeleteBlob(repository, digest string) bool {
	r.content.mu.Lock()
	defer r.content.mu.Unlock()
	repo := r.content.repository(repository)
	_, found := repo.blobs[digest]
	delete(repo.blobs, digest)
	return found
}
