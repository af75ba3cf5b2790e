package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/draysync/dray/internal/image"
)

// maxPlatforms limits the name of a set of platforms.
const maxPlatforms = 4096

// Selected returns the digest that an index has when it is reduced to some of its platforms; platforms names the set.
func (s *Store) Selected(ctx context.Context, source image.Digest, platforms string) (image.Digest, bool, error) {
	if s.damaged.Load() {
		return "", false, nil
	}
	var text string
	var fresh bool
	err := s.find.selected.QueryRowContext(ctx, dayAgo, dayAhead, string(source), platforms).Scan(&text, &fresh)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, s.failed(ctx, "read the choice of platforms of "+string(source), err)
	}
	target, err := image.ParseDigest(text)
	if err != nil {
		return "", false, nil //nolint:nilerr // a row without a digest is not a hit; the right one will replace it
	}
	s.touch(touch{table: "selections", platforms: platforms}, string(source), fresh)
	return target, true, nil
}

// PutSelected saves the digest that an index has when it is reduced to some of its platforms.
func (s *Store) PutSelected(ctx context.Context, source image.Digest, platforms string, target image.Digest) error {
	for _, d := range []image.Digest{source, target} {
		if err := d.Validate(); err != nil {
			return fmt.Errorf("store: choice of platforms: digest %q: %w", bounded(string(d)), err)
		}
	}
	if len(platforms) > maxPlatforms {
		return fmt.Errorf("store: choice of platforms: its name of %d bytes is too long", len(platforms))
	}
	return s.write(ctx, "keep the choice of platforms of "+string(source), s.putSelection(string(source), platforms, target))
}

func (s *Store) putSelection(source, choice string, target image.Digest) statement {
	const query = "INSERT INTO {selections} (source, platforms, target, used) VALUES (?, ?, ?, ?) " +
		"ON CONFLICT (source, platforms) DO UPDATE SET target = excluded.target, used = excluded.used"
	return do(query, source, choice, string(target), now)
}
