package layout

import (
	"cmp"
	"errors"
	"os"
	"sync"

	"github.com/draysync/dray/internal/image"
)

// Referrers returns the referrers of a manifest: those that are listed under its fallback tag, and those that index.json has without a name, as oras
// writes them. Of the latter, what is missing or damaged cannot be told from the manifests of other images, and is left out.
func (s *Store) Referrers(repo image.Repository, d image.Digest) ([]image.Referrer, error) {
	ix, err := s.indexes.look(repo.Path)
	if err != nil {
		return nil, err
	}
	list, err := referrersOf(repo.Path, ix.of(image.Reference{Tag: image.ReferrersTag(d)}), d)
	if errors.Is(err, errNoList) {
		list, err = newIndex(), nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range ix.entries {
		if e.name() != "" || e.Digest.Validate() != nil || e.Size > MaxManifest || image.KindOf(e.MediaType) == image.Blobs {
			continue
		}
		r, err := s.about.of(e.Digest, func() (image.Manifest, error) {
			m, err := s.Manifest(repo.Digest(e.Digest))
			m.MediaType = cmp.Or(e.MediaType, m.MediaType)
			return m, err
		})
		switch {
		case errors.Is(err, image.ErrAbsent), errors.Is(err, image.ErrCorrupt):
		case err != nil:
			return nil, err
		case r != nil && r.subject == d:
			there, err := has(repo.Path, r.entry)
			if err != nil {
				return nil, err
			}
			if there {
				list.entries = append(list.entries, r.entry)
			}
		}
	}
	var referrers []image.Referrer
	seen := map[image.Digest]bool{}
	for _, e := range list.entries {
		if e.Digest.Validate() != nil || seen[e.Digest] {
			continue
		}
		seen[e.Digest] = true
		referrers = append(referrers, image.Referrer{Descriptor: e.descriptor(), ArtifactType: e.ArtifactType, Predicate: e.Annotations[image.PredicateAnnotation]})
	}
	return referrers, nil
}

// has reports whether a layout has the file of a manifest, which another may have been read from.
func has(dir string, e entry) (bool, error) {
	info, err := os.Stat(blobPath(dir, e.Digest))
	return err == nil && info.Size() == e.Size, ignoreMissing(err)
}

// described remembers manifests of index.json as lists of referrers have them, by their digests; those without a subject as nil. A manifest never changes.
type described struct {
	mu  sync.Mutex
	all map[image.Digest]*referrer
}

type referrer struct {
	entry   entry
	subject image.Digest
}

// of returns what a manifest refers to; nil if it has no subject. An error is that of read: the manifest may be there later.
func (a *described) of(d image.Digest, read func() (image.Manifest, error)) (*referrer, error) {
	a.mu.Lock()
	r, known := a.all[d]
	a.mu.Unlock()
	if known {
		return r, nil
	}
	m, err := read()
	if err != nil {
		return nil, err
	}
	if e, subject, _ := describe(m); subject != "" { // who reads an odd manifest meets the error
		r = &referrer{e, subject}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.all) >= maxSound || a.all == nil {
		a.all = map[image.Digest]*referrer{}
	}
	a.all[d] = r
	return r, nil
}
