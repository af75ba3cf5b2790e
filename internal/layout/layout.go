// Package layout reads and writes OCI image layouts (OCI image spec, "Image Layout Specification"): directories with content by digest, and
// an index.json with the tags.
//
// A layout is complete at every moment, even after a crash or on a full disk: each file is written beside its final path, synced, and
// renamed. A tag appears only when index.json is renamed, after everything below it. An index.json that cannot be read is an error and is
// never replaced. A lock file admits one writing process at a time; others may read meanwhile.
package layout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	blobsDir   = "blobs"
	tempDir    = ".dray-tmp"
	lockFile   = ".dray-lock"

	// refName is the annotation that holds a tag (OCI image spec, "Pre-Defined Annotation Keys").
	refName = "org.opencontainers.image.ref.name"
	// containerdName is the annotation in which containerd keeps the full name of an image, in addition to refName.
	containerdName = "io.containerd.image.name"

	// MaxManifest is the most bytes that a manifest may have.
	MaxManifest = 8 << 20
	maxIndex    = 64 << 20
)

// Store reads and writes layouts. It is safe for concurrent use.
type Store struct {
	sound   sound
	about   described
	indexes recent
}

// New returns a store.
func New() *Store { return &Store{} }

// Tags returns the tags, sorted, and the names that contain none, such as that of an image with its digest. If no entry has a name, as in what buildx
// and skopeo write without one, the digests stand for them. A directory that is not a layout is absent.
func (s *Store) Tags(repo image.Repository) ([]string, error) {
	ix, err := s.indexes.look(repo.Path)
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, e := range ix.entries {
		if tag := cmp.Or(e.tag(), e.name()); tag != "" {
			tags = append(tags, tag)
		}
	}
	if tags == nil {
		tags = ix.nameless()
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// Digests returns what index.json names, with a tag or without one, in its order.
func (s *Store) Digests(repo image.Repository) (all []image.Digest, err error) {
	ix, err := s.indexes.look(repo.Path)
	if err != nil {
		return nil, err
	}
	for _, e := range ix.entries {
		all = append(all, e.Digest)
	}
	return all, nil
}

// Head resolves a tag or a digest.
func (s *Store) Head(r image.Reference) (image.Descriptor, error) {
	d := image.Descriptor{Digest: r.Digest}
	ix, err := s.indexes.look(r.Path)
	if err != nil {
		return d, err
	}
	part := ix.of(r)
	if err := part.ambiguous(r.Tag); r.Digest == "" && err != nil {
		return d, err
	}
	e, found := part.find(r)
	if !found && r.Digest == "" {
		return d, fmt.Errorf("tag %s: %w%s", r.Tag, image.ErrAbsent, ix.insteadOf())
	}
	if !found { // no entry names a child: its media type is in its own bytes
		m, err := s.Manifest(r)
		return m.Descriptor, err
	}
	d = e.descriptor()
	if err := d.Digest.Validate(); err != nil {
		return d, fmt.Errorf("%s: entry of tag %s: %w", filepath.Join(r.Path, indexFile), r.Tag, err)
	}
	info, err := os.Stat(blobPath(r.Path, d.Digest))
	if err != nil {
		return d, damagedIfMissing(err)
	}
	if d.Size == 0 {
		d.Size = info.Size()
	}
	if info.Size() != d.Size { // truncated, by whatever wrote it: as good as absent
		return d, fmt.Errorf("manifest %s: %w: its file has %d bytes, not %d; %s", d.Digest, image.ErrAbsent, info.Size(), d.Size, WayOut)
	}
	return d, nil
}

// Manifest reads a manifest and checks its digest.
func (s *Store) Manifest(r image.Reference) (image.Manifest, error) {
	m := image.Manifest{Descriptor: image.Descriptor{Digest: r.Digest}}
	if r.Digest == "" {
		d, err := s.Head(r)
		if err != nil {
			return m, err
		}
		m.Descriptor = d
	}
	if err := m.Digest.Validate(); err != nil {
		return m, fmt.Errorf("manifest %s: %w", m.Digest, err)
	}
	raw, err := readBounded(blobPath(r.Path, m.Digest))
	if err != nil {
		return m, err
	}
	if got := image.DigestOf(raw, m.Digest); got != m.Digest {
		return m, fmt.Errorf("manifest %s: its file has digest %s: %w", m.Digest, got, image.ErrCorrupt)
	}
	m.Raw, m.Size = raw, int64(len(raw))
	if m.MediaType == "" {
		m.MediaType = mediaTypeOf(raw)
	}
	return m, nil
}

// mediaTypeOf determines the media type, which an OCI manifest may leave out (OCI image spec, "mediaType … SHOULD be used").
func mediaTypeOf(raw []byte) string {
	var probe struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
	}
	switch err := json.Unmarshal(raw, &probe); {
	case err == nil && probe.MediaType != "":
		return probe.MediaType
	case probe.Manifests != nil:
		return image.MediaTypeOCIIndex
	}
	return image.MediaTypeOCIManifest
}

// PutManifest writes a manifest; if the reference has a tag, the tag then names it. What the manifest refers to must exist, or the error
// has the code manifest-blob-unknown. A manifest with a subject is added to the subject's referrers list under the fallback tag.
func (s *Store) PutManifest(ctx context.Context, r image.Reference, m image.Manifest) error {
	if got := image.DigestOf(m.Raw, m.Digest); got != m.Digest {
		return fmt.Errorf("manifest %s: the bytes have digest %s: %w", m.Digest, got, image.ErrCorrupt)
	}
	if err := s.checkParts(ctx, r.Repository, m); err != nil {
		return err
	}
	h, release, err := s.prepare(ctx, r.Path)
	if err != nil {
		return err
	}
	defer release()
	if err := writeFile(r.Path, blobPath(r.Path, m.Digest), m.Raw); err != nil {
		return err
	}
	subject := subjectOf(m.Raw)
	if r.Tag == "" && subject == "" {
		return nil
	}
	h.index.Lock()
	defer h.index.Unlock()
	ix, err := s.indexes.read(r.Path)
	if err != nil {
		return err
	}
	if subject != "" {
		if err := addReferrer(r.Path, ix, subject, m); err != nil {
			return err
		}
	}
	if r.Tag != "" {
		ix.set(Tagged{r.Tag, m.Descriptor})
	}
	return s.indexes.write(r.Path, ix)
}

// prepare takes a layout for this process, and creates one in dir if there is none.
func (s *Store) prepare(ctx context.Context, dir string) (*hold, func(), error) {
	if err := os.MkdirAll(filepath.Join(dir, blobsDir), 0o755); err != nil {
		return nil, nil, fmt.Errorf("layout: %w", err)
	}
	h, release, err := acquire(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	if err := h.begin(dir); err != nil {
		release()
		return nil, nil, err
	}
	return h, release, nil
}

// begin creates an empty layout if there is none.
func (h *hold) begin(dir string) error {
	h.index.Lock()
	defer h.index.Unlock()
	_, err := os.Stat(filepath.Join(dir, indexFile))
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("layout: %w", err)
	}
	if err := writeVersion(dir); err != nil {
		return err
	}
	_, err = newIndex().write(dir)
	return err
}

// writeVersion writes the file that makes a directory a layout.
func writeVersion(dir string) error {
	return writeFile(dir, filepath.Join(dir, layoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

// checkVersion reads that file.
func checkVersion(dir string) error {
	raw, err := readBounded(filepath.Join(dir, layoutFile))
	if err != nil {
		return fmt.Errorf("%s is not an OCI layout: %w", dir, err)
	}
	var doc struct {
		Version string `json:"imageLayoutVersion"`
	}
	if json.Unmarshal(raw, &doc) != nil || doc.Version == "" {
		return fmt.Errorf("%s: %s names no version of a layout", dir, layoutFile)
	}
	return nil
}

// HasBlob reports whether a blob is there and intact. It reads a blob that this process has neither written nor read before.
func (s *Store) HasBlob(ctx context.Context, repo image.Repository, d image.Descriptor) (bool, error) {
	if err := d.Digest.Validate(); err != nil {
		return false, fmt.Errorf("blob %q: %w", d.Digest, err)
	}
	path := blobPath(repo.Path, d.Digest)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || d.Size != 0 && info.Size() != d.Size {
		return false, err
	}
	return s.sound.check(ctx, path, d.Digest, info)
}

// usable reports whether a blob is there and intact. One that cannot be read is not, and is written anew.
func (s *Store) usable(ctx context.Context, repo image.Repository, d image.Descriptor) (bool, error) {
	has, err := s.HasBlob(ctx, repo, d)
	if err != nil && ctx.Err() == nil && d.Digest.Validate() == nil {
		return false, nil
	}
	return has, err
}

// BlobPath returns the path of the file that has a blob or a manifest, in a layout that has it. The digest must be valid.
func BlobPath(repo image.Repository, d image.Digest) string { return blobPath(repo.Path, d) }

// BlobSize returns the size of a blob or a manifest in bytes, without reading it.
func (s *Store) BlobSize(repo image.Repository, d image.Digest) (int64, error) {
	if err := d.Validate(); err != nil {
		return 0, fmt.Errorf("blob %q: %w", d, err)
	}
	info, err := os.Stat(blobPath(repo.Path, d))
	if err != nil {
		return 0, absentIfMissing(err)
	}
	return info.Size(), nil
}

// OpenBlob opens a blob at an offset. The caller checks the digest.
func (s *Store) OpenBlob(repo image.Repository, d image.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("blob %q: %w", d.Digest, err)
	}
	f, err := file.Open(blobPath(repo.Path, d.Digest))
	if err != nil {
		return nil, damagedIfMissing(err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// PutBlob writes a blob, unless it is there. It leaves nothing behind if the bytes do not match the digest.
func (s *Store) PutBlob(ctx context.Context, repo image.Repository, d image.Descriptor, open func() (io.ReadCloser, error)) (err error) {
	if has, err := s.usable(ctx, repo, d); err != nil || has {
		return err
	}
	_, release, err := s.prepare(ctx, repo.Path)
	if err != nil {
		return err
	}
	defer release()
	body, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	path := blobPath(repo.Path, d.Digest)
	err = place(repo.Path, path, func(f io.Writer) error {
		verifier := image.Verifier(d.Digest)
		if _, err := io.Copy(io.MultiWriter(f, verifier), until{ctx, body}); err != nil {
			return err
		}
		if !verifier.Verified() {
			return fmt.Errorf("blob %s: %w", d.Digest, image.ErrCorrupt)
		}
		return nil
	})
	if err == nil {
		s.sound.note(path)
	}
	return err
}

func blobPath(dir string, d image.Digest) string {
	return filepath.Join(dir, blobsDir, d.Algorithm().String(), d.Encoded())
}

// absentIfMissing turns the error of a missing file into image.ErrAbsent.
func absentIfMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", image.ErrAbsent, err)
	}
	return err
}

// damagedIfMissing is absentIfMissing for a file to which something in the layout leads, with the way out.
func damagedIfMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; %s", absentIfMissing(err), WayOut)
	}
	return err
}
