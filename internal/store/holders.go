package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/draysync/dray/internal/image"
)

const (
	// maxHolders is how many repositories BlobHolders returns: after some failed mounts, another is not worth a request.
	maxHolders = 4
	// maxName limits registries and paths; the OCI distribution spec has 255 bytes for both together.
	maxName = 255
)

// BlobHolders returns repositories of a registry that hold a blob, those confirmed or used last first, at most four. It returns only
// repositories in which a manifest was committed: elsewhere a blob may be garbage-collected at any time.
func (s *Store) BlobHolders(ctx context.Context, registry string, d image.Digest) ([]image.Repository, error) {
	if s.damaged.Load() || registry == "" || d.Validate() != nil {
		return nil, nil
	}
	holders, err := s.blobHolders(ctx, registry, d)
	if err != nil {
		return nil, s.failed(ctx, "read holders of "+string(d), err)
	}
	return holders, nil
}

func (s *Store) blobHolders(ctx context.Context, registry string, d image.Digest) ([]image.Repository, error) {
	rows, err := s.find.holders.QueryContext(ctx, dayAgo, dayAhead, string(d), registry)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var holders []image.Repository
	for rows.Next() {
		var id int64
		var fresh bool
		var repo image.Repository
		if err := rows.Scan(&id, &repo.Registry, &repo.Path, &fresh); err != nil {
			return nil, err
		}
		if checkRepository(repo) == nil {
			holders = append(holders, repo)
			s.touch(touch{table: "blobs", repository: id}, string(d), fresh)
		}
	}
	return holders, rows.Err()
}

// Holds returns those of the digests that the repository is known to hold, even if no manifest is committed yet. Nothing is known about OCI
// image layouts.
func (s *Store) Holds(ctx context.Context, repo image.Repository, ds []image.Digest) (map[image.Digest]bool, error) {
	held := map[image.Digest]bool{}
	if s.damaged.Load() || repo.IsLayout() {
		return held, nil
	}
	valid := slices.DeleteFunc(slices.Clone(ds), func(d image.Digest) bool { return d.Validate() != nil })
	for chunk := range slices.Chunk(valid, chunkSize) {
		if err := s.holds(ctx, repo, chunk, held); err != nil {
			return map[image.Digest]bool{}, s.failed(ctx, "read blobs of "+repo.String(), err)
		}
	}
	return held, nil
}

func (s *Store) holds(ctx context.Context, repo image.Repository, ds []image.Digest, held map[image.Digest]bool) error {
	rows, err := s.find.holds.QueryContext(ctx, dayAgo, dayAhead, repo.Registry, repo.Path, array(ds))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id int64
		var fresh bool
		var d string
		if err := rows.Scan(&id, &d, &fresh); err != nil {
			return err
		}
		held[image.Digest(d)] = true
		s.touch(touch{table: "blobs", repository: id}, d, fresh)
	}
	return rows.Err()
}

// AddBlobs records that a registry has confirmed that the repository holds the digests, of blobs or manifests; committed says that it has
// accepted a manifest there. It records all or none. It ignores OCI image layouts.
func (s *Store) AddBlobs(ctx context.Context, repo image.Repository, ds []image.Digest, committed bool) error {
	if repo.IsLayout() {
		return nil
	}
	for _, d := range ds {
		if err := d.Validate(); err != nil {
			return fmt.Errorf("store: blob %q of %s: %w", bounded(string(d)), repo, err)
		}
	}
	const query = "INSERT INTO {blobs} (repository, digest, used) SELECT " + repositoryID + ", value, ? FROM {texts} WHERE true " +
		"ON CONFLICT (repository, digest) DO UPDATE SET used = excluded.used"
	var list []statement
	for chunk := range slices.Chunk(ds, chunkSize) {
		list = append(list, do(query, repo.Registry, repo.Path, now, array(chunk)))
	}
	return s.note(ctx, repo, committed, list...)
}

// repositoryID is the id of a repository's row, by registry and path.
const repositoryID = "(SELECT id FROM {repositories} WHERE registry = ? AND path = ?)"

// note writes something about a repository, whose row it creates if needed. It never resets committed.
func (s *Store) note(ctx context.Context, repo image.Repository, committed bool, list ...statement) error {
	if err := checkRepository(repo); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	const query = "INSERT INTO {repositories} (registry, path, committed, used) VALUES (?, ?, ?, ?) ON CONFLICT (registry, path) " +
		"DO UPDATE SET committed = repositories.committed OR excluded.committed, used = excluded.used"
	row := do(query, repo.Registry, repo.Path, committed, now)
	return s.write(ctx, "write what is known of "+repo.String(), append([]statement{row}, list...)...)
}

// Forget removes the digests from what the repository is known to hold; without digests, everything about the repository.
func (s *Store) Forget(ctx context.Context, repo image.Repository, ds ...image.Digest) error {
	if repo.IsLayout() {
		return nil
	}
	valid := slices.DeleteFunc(slices.Clone(ds), func(d image.Digest) bool { return d.Validate() != nil })
	// The repository comes first, as in note, so that those who write about it take turns.
	list := []statement{do("UPDATE {repositories} SET used = ? WHERE registry = ? AND path = ?", now, repo.Registry, repo.Path)}
	if len(ds) == 0 {
		list = append(list, do("DELETE FROM {repositories} WHERE registry = ? AND path = ?", repo.Registry, repo.Path))
	}
	const query = "DELETE FROM {blobs} WHERE repository = " + repositoryID + " AND digest {in texts}"
	for chunk := range slices.Chunk(valid, chunkSize) {
		list = append(list, do(query, repo.Registry, repo.Path, array(chunk)))
	}
	return s.write(ctx, "forget what is known of "+repo.String(), list...)
}

// checkRepository refuses what cannot be a repository at a registry. It is wider than the grammar of references, which is checked
// elsewhere, and excludes what would mean something else in a URL.
func checkRepository(repo image.Repository) error {
	for _, part := range []string{repo.Registry, repo.Path} {
		if part == "" || len(part) > maxName || strings.ContainsFunc(part, outsideName) || strings.HasPrefix(part, "/") ||
			strings.Contains(part, "..") || strings.Contains(part, "//") {
			return fmt.Errorf("%q is not a repository at a registry", bounded(repo.String()))
		}
	}
	return nil
}

func outsideName(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune("._:/[]-", r)
}
