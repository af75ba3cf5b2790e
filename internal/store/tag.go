package store

import (
	"context"
	"fmt"

	"github.com/draysync/dray/internal/image"
)

// The tags of a repository are stored among the selections, as its choices: both name the digest that something has become.

// Tagged returns the manifests that were put under those of the repository's tags that are known. Nothing is known about OCI image layouts.
func (s *Store) Tagged(ctx context.Context, repo image.Repository, tags []string) (map[string]image.Digest, error) {
	known := map[string]image.Digest{}
	if s.damaged.Load() || repo.IsLayout() || len(tags) == 0 {
		return known, nil
	}
	rows, err := s.find.tagged.QueryContext(ctx, dayAgo, dayAhead, repo.String(), array(tags))
	if err != nil {
		return known, s.failed(ctx, "read tags of "+repo.String(), err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var tag, d string
		var fresh bool
		if err := rows.Scan(&tag, &d, &fresh); err != nil {
			return known, s.failed(ctx, "read tags of "+repo.String(), err)
		}
		if digest, err := image.ParseDigest(d); err == nil {
			known[tag] = digest
			s.touch(touch{table: "selections", platforms: tag}, repo.String(), fresh)
		}
	}
	return known, s.failed(ctx, "read tags of "+repo.String(), rows.Err())
}

// PutTag records which manifest was put under a tag.
func (s *Store) PutTag(ctx context.Context, ref image.Reference) error {
	if ref.IsLayout() {
		return nil
	}
	if err := ref.Digest.Validate(); err != nil || ref.Tag == "" || len(ref.Tag) > maxName {
		return fmt.Errorf("store: %s is no tag with a digest", bounded(ref.String()))
	}
	return s.write(ctx, "keep the tag "+ref.String(), s.putSelection(ref.Repository.String(), ref.Tag, ref.Digest))
}
