package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/draysync/dray/internal/image"
)

// ReferrersSeen returns when the referrers of a manifest in a repository were last read, exact to a millisecond. It ignores a future time,
// which a clock that was set back leaves behind: referrers would go unread for too long.
func (s *Store) ReferrersSeen(ctx context.Context, repo image.Repository, d image.Digest) (time.Time, bool, error) {
	if s.damaged.Load() || repo.IsLayout() {
		return time.Time{}, false, nil
	}
	var id, seen int64
	var fresh bool
	err := s.find.referrers.QueryRowContext(ctx, dayAgo, dayAhead, repo.Registry, repo.Path, string(d), now).Scan(&id, &seen, &fresh)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, s.failed(ctx, "read when referrers were looked at: "+string(d), err)
	}
	s.touch(touch{table: "referrers", repository: id}, string(d), fresh)
	return time.UnixMilli(seen), true, nil
}

// PutReferrersSeen records that the referrers of a manifest in a repository were read just now. It ignores OCI image layouts.
func (s *Store) PutReferrersSeen(ctx context.Context, repo image.Repository, d image.Digest) error {
	if repo.IsLayout() {
		return nil
	}
	if err := d.Validate(); err != nil {
		return fmt.Errorf("store: referrers of %q: %w", bounded(string(d)), err)
	}
	const query = "INSERT INTO {referrers} (repository, digest, seen, used) VALUES (" + repositoryID + ", ?, ?, ?) " +
		"ON CONFLICT (repository, digest) DO UPDATE SET seen = excluded.seen, used = excluded.used"
	return s.note(ctx, repo, false, do(query, repo.Registry, repo.Path, string(d), now, now))
}
