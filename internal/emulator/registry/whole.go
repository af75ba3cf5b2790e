package registry

import (
	"encoding/json"
	"fmt"
)

// Whole says what is wrong with the graph below a tag or digest: nil when the manifest, all children and all blobs that
// are not foreign are in the repository, and each is what its digest says.
func (r *Registry) Whole(repository, reference string) error {
	return r.whole(repository, reference, map[string]bool{})
}

func (r *Registry) whole(repository, reference string, seen map[string]bool) error {
	if seen[reference] {
		return nil
	}
	seen[reference] = true
	digest, stored, found := r.content.manifest(repository, reference)
	if !found {
		return fmt.Errorf("%s: manifest %s is missing", repository, reference)
	}
	if got := Sum(stored.body); got != digest {
		return fmt.Errorf("%s: manifest %s has digest %s", repository, digest, got)
	}
	var m manifest
	if err := json.Unmarshal(stored.body, &m); err != nil {
		return fmt.Errorf("%s: manifest %s: %w", repository, digest, err)
	}
	blobs := m.blobs()
	for _, child := range m.Manifests {
		if !child.manifest() && r.Digest(repository, child.Digest) == "" {
			blobs = append(blobs, child)
			continue
		}
		if err := r.whole(repository, child.Digest, seen); err != nil {
			return fmt.Errorf("below %s: %w", digest, err)
		}
	}
	for _, b := range blobs {
		data, found := r.content.blob(repository, b.Digest)
		switch {
		case !found:
			return fmt.Errorf("%s: blob %s of %s is missing", repository, b.Digest, digest)
		case Sum(data) != b.Digest || int64(len(data)) != b.Size:
			return fmt.Errorf("%s: blob %s of %s is not what it says", repository, b.Digest, digest)
		}
	}
	return nil
}
