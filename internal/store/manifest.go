package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/draysync/dray/internal/image"
)

const (
	// maxManifest is twice the size that the OCI distribution spec tells registries to accept ("Pushing Manifests").
	maxManifest = 8 << 20
	// maxMediaType is the limit of RFC 6838, section 4.2.
	maxMediaType = 255
)

// Manifest returns a saved manifest, after checking its bytes against the digest. It deletes a row that does not match, and reports no hit.
func (s *Store) Manifest(ctx context.Context, d image.Digest) (image.Manifest, bool, error) {
	if s.damaged.Load() || d.Validate() != nil {
		return image.Manifest{}, false, nil
	}
	m := image.Manifest{Descriptor: image.Descriptor{Digest: d}}
	var fresh bool
	err := s.find.manifest.QueryRowContext(ctx, dayAgo, dayAhead, string(d)).Scan(&m.MediaType, &m.Raw, &fresh)
	if errors.Is(err, sql.ErrNoRows) {
		return image.Manifest{}, false, nil
	}
	if err != nil {
		return image.Manifest{}, false, s.failed(ctx, "read manifest "+string(d), err)
	}
	m.Size = int64(len(m.Raw))
	if err := checkManifest(m); err != nil {
		dropped := s.write(ctx, "drop manifest "+string(d), do("DELETE FROM {manifests} WHERE digest = ?", string(d)))
		s.options.Log.LogAttrs(ctx, slog.LevelWarn, "a manifest in the store is damaged and is dropped",
			slog.String("digest", string(d)), slog.Any("err", errors.Join(err, dropped)))
		return image.Manifest{}, false, nil
	}
	s.touch(touch{table: "manifests"}, string(d), fresh)
	return m, true, nil
}

// PutManifest saves a manifest; it refuses one that does not match its digest, and one above 8 MiB.
func (s *Store) PutManifest(ctx context.Context, m image.Manifest) error {
	if err := checkManifest(m); err != nil {
		return fmt.Errorf("store: keep manifest %s: %w", image.ShortDigest(m.Digest), err)
	}
	const query = "INSERT INTO {manifests} (digest, media_type, raw, used) VALUES (?, ?, ?, ?) " +
		"ON CONFLICT (digest) DO UPDATE SET media_type = excluded.media_type, raw = excluded.raw, used = excluded.used"
	return s.write(ctx, "keep manifest "+string(m.Digest), do(query, string(m.Digest), m.MediaType, m.Raw, now))
}

func checkManifest(m image.Manifest) error {
	switch {
	case m.Digest.Validate() != nil:
		return fmt.Errorf("%q is not a digest", bounded(string(m.Digest)))
	case len(m.Raw) == 0 || len(m.Raw) > maxManifest:
		return fmt.Errorf("%d bytes are not a manifest's size: %w", len(m.Raw), image.ErrCorrupt)
	case len(m.MediaType) > maxMediaType:
		return fmt.Errorf("a media type of %d bytes is too long", len(m.MediaType))
	case m.Size != 0 && m.Size != int64(len(m.Raw)), image.DigestOf(m.Raw, m.Digest) != m.Digest:
		return image.ErrCorrupt
	}
	return nil
}

// bounded shortens foreign text for messages.
func bounded(s string) string { return s[:min(len(s), 100)] }
