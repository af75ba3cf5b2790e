package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

// AdoptBlob makes a file a blob of a layout, unless the layout has that blob. The caller has synced the file and checked its bytes. With move
// the file is renamed, else linked; it is copied where the file system can do neither. A file that was linked belongs to both places, and is not
// changed by either: layouts replace files, and do not write into them.
func (s *Store) AdoptBlob(ctx context.Context, repo image.Repository, d image.Descriptor, path string, move bool) error {
	if has, err := s.usable(ctx, repo, d); err != nil || has {
		return err
	}
	_, release, err := s.prepare(ctx, repo.Path)
	if err != nil {
		return err
	}
	defer release()
	to := blobPath(repo.Path, d.Digest)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	place := os.Link
	if move {
		place = os.Rename
	}
	if place(path, to) != nil {
		return s.PutBlob(ctx, repo, d, func() (io.ReadCloser, error) { return file.Open(path) })
	}
	touch(to)
	s.sound.note(to)
	return file.SyncDir(filepath.Dir(to))
}

// Tagged is a manifest with the tag that names it.
type Tagged struct {
	Tag string
	image.Descriptor
}

// SetTags makes tags name manifests, all in one write of index.json. All that the manifests lead to must be there and intact, or no tag
// changes; the error then has the code manifest-blob-unknown where something is missing.
func (s *Store) SetTags(ctx context.Context, repo image.Repository, tags []Tagged) error {
	h, release, err := s.prepare(ctx, repo.Path)
	if err != nil {
		return err
	}
	defer release()
	seen := map[image.Digest]bool{}
	for _, t := range tags {
		if err := s.checkTree(ctx, repo, t.Digest, seen, 0); err != nil {
			return fmt.Errorf("tag %s: %w", t.Tag, err)
		}
	}
	h.index.Lock()
	defer h.index.Unlock()
	ix, err := s.indexes.read(repo.Path)
	if err != nil {
		return err
	}
	ix.set(tags...)
	return s.indexes.write(repo.Path, ix)
}

// RemoveTags removes tags that still name these manifests, all in one write of index.json, and returns which. Nothing else is removed: what no tag needs
// then is for [Store.Collect]. A directory that is not a layout has none.
func (s *Store) RemoveTags(ctx context.Context, repo image.Repository, tags []Tagged) (removed []Tagged, err error) {
	if _, err := s.indexes.read(repo.Path); errors.Is(err, image.ErrAbsent) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	h, release, err := acquire(ctx, repo.Path)
	if err != nil {
		return nil, err
	}
	defer release()
	h.index.Lock()
	defer h.index.Unlock()
	ix, err := s.indexes.read(repo.Path)
	if err != nil {
		return nil, err
	}
	for _, t := range tags {
		before := len(ix.entries)
		ix.entries = slices.DeleteFunc(ix.entries, func(e entry) bool { return e.name() == t.Tag && e.Digest == t.Digest })
		if len(ix.entries) < before {
			removed = append(removed, t)
		}
	}
	if len(removed) == 0 {
		return nil, nil
	}
	return removed, s.indexes.write(repo.Path, ix)
}

// checkTree checks a manifest, and all below it.
func (s *Store) checkTree(ctx context.Context, repo image.Repository, d image.Digest, seen map[image.Digest]bool, depth int) error {
	if seen[d] {
		return nil
	}
	seen[d] = true
	if depth > image.MaxNesting {
		return fmt.Errorf("manifest %s lies more than %d indexes deep", d, image.MaxNesting)
	}
	m, err := s.Manifest(repo.Digest(d))
	if err != nil {
		return err
	}
	if err := s.checkParts(ctx, repo, m); err != nil {
		return err
	}
	all, err := PartsOf(m.Raw, manifestsOf(repo.Path))
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d, err)
	}
	for _, p := range all {
		if !p.Manifest {
			continue
		}
		if err := s.checkTree(ctx, repo, p.Digest, seen, depth+1); err != nil {
			return err
		}
	}
	return nil
}
