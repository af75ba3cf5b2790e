package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
)

// Survey is the content of a layout.
type Survey struct {
	// Tags, Manifests and Blobs count what is reachable from index.json; Bytes is the size of manifests and blobs.
	Tags, Manifests, Blobs int
	Bytes                  int64
	// Unreachable counts files that no tag needs, with their size in bytes.
	Unreachable      int
	UnreachableBytes int64
	Problems         []Problem
}

// Problem is something missing or broken.
type Problem struct {
	Digest image.Digest
	// Tag is one of the tags that need it; empty if an untagged entry does.
	Tag  string
	Text string
}

// survey walks a layout.
type survey struct {
	dir   string
	whole bool // read every blob
	seen  map[image.Digest]bool
	// walked are manifests; one may have been seen as a blob before.
	walked map[image.Digest]bool
	Survey
}

// Verify reads everything that is reachable from index.json, and reports what is missing or does not match its digest. An error means that
// the layout cannot be read at all, or that ctx has ended. It changes nothing.
func Verify(ctx context.Context, dir string) (Survey, error) {
	s := &survey{dir: dir, whole: true, seen: map[image.Digest]bool{}, walked: map[image.Digest]bool{}}
	if err := s.walk(ctx); err != nil {
		return s.Survey, err
	}
	err := s.others(ctx, func(_ string, info fs.FileInfo) error {
		s.Unreachable++
		s.UnreachableBytes += info.Size()
		return nil
	})
	return s.Survey, err
}

// Collect removes what no tag needs, and the remains of crashes; with dry it only counts. It keeps files younger than the grace: a writer
// that has just put or found one may be about to refer to it. It removes nothing from a layout in which something is missing or unreadable,
// waits a little for a process that writes to it, and may be killed at any moment.
func (s *Store) Collect(ctx context.Context, dir string, grace time.Duration, dry bool) (Survey, error) {
	if _, err := readIndex(dir); err != nil { // before a lock file is created in a directory that is not a layout
		return Survey{}, err
	}
	h, release, err := acquireUnless(ctx, dir, dry)
	if err != nil {
		return Survey{}, err
	}
	defer release()
	h.index.Lock()
	defer h.index.Unlock()
	v := &survey{dir: dir, seen: map[image.Digest]bool{}, walked: map[image.Digest]bool{}}
	if err := v.walk(ctx); err != nil {
		return v.Survey, err
	}
	if len(v.Problems) > 0 {
		return v.Survey, nil
	}
	if err := unshared(dir); err != nil {
		return v.Survey, err
	}
	limit := time.Now().Add(-grace)
	err = v.others(ctx, func(path string, info fs.FileInfo) error {
		if info.ModTime().After(limit) {
			return nil
		}
		v.Unreachable++
		v.UnreachableBytes += info.Size()
		if dry {
			return nil
		}
		return ignoreMissing(os.Remove(path))
	})
	return v.Survey, err
}

// unshared returns an error if blobs of a layout are behind a symbolic link, where another layout may need what this one does not.
func unshared(dir string) error {
	blobs := filepath.Join(dir, blobsDir)
	algorithms, err := readFolder(blobs)
	if err != nil {
		return ignoreMissing(err)
	}
	paths := []string{blobs}
	for _, a := range algorithms {
		paths = append(paths, filepath.Join(blobs, a.Name()))
	}
	for _, path := range paths {
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%s is a symbolic link, and another layout may need what is behind it, so nothing was removed: put the folder in place of the link", path)
		}
	}
	return nil
}

// walk follows index.json.
func (s *survey) walk(ctx context.Context) error {
	if err := checkVersion(s.dir); err != nil {
		return err
	}
	ix, err := readIndex(s.dir)
	if err != nil {
		return err
	}
	for _, e := range ix.entries {
		if e.tag() != "" {
			s.Tags++
		}
		s.entry(ctx, part{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size}, e.tag(), 0)
	}
	return ctx.Err()
}

func (s *survey) problem(d image.Digest, tag, format string, args ...any) {
	s.Problems = append(s.Problems, Problem{Digest: d, Tag: tag, Text: fmt.Sprintf(format, args...)})
}

// entry follows an entry of an index at some depth.
func (s *survey) entry(ctx context.Context, p part, tag string, depth int) {
	switch {
	case p.Digest.Validate() != nil:
		s.problem(p.Digest, tag, "is not a digest")
	case s.walked[p.Digest] || ctx.Err() != nil:
	case depth > image.MaxNesting:
		s.seen[p.Digest], s.walked[p.Digest] = true, true
		s.problem(p.Digest, tag, "lies more than %d indexes deep", image.MaxNesting)
	case p.isBlob(manifestsOf(s.dir)):
		s.blob(ctx, p, tag)
	default:
		s.manifest(ctx, p, tag, depth)
	}
}

// manifest follows a manifest or an index.
func (s *survey) manifest(ctx context.Context, p part, tag string, depth int) {
	before := s.seen[p.Digest]
	s.seen[p.Digest], s.walked[p.Digest] = true, true
	raw, err := readBounded(blobPath(s.dir, p.Digest))
	switch {
	case errors.Is(err, image.ErrAbsent):
		s.problem(p.Digest, tag, "the manifest is missing")
		return
	case err != nil:
		s.problem(p.Digest, tag, "the manifest cannot be read: %v", err)
		return
	case image.DigestOf(raw, p.Digest) != p.Digest:
		s.problem(p.Digest, tag, "the manifest does not match its digest")
		return
	case p.Size != 0 && int64(len(raw)) != p.Size:
		s.problem(p.Digest, tag, "the manifest has %d bytes, and %d are wanted", len(raw), p.Size)
		return
	}
	s.Manifests++
	if !before {
		s.Bytes += int64(len(raw))
	}
	var doc parts
	if err := json.Unmarshal(raw, &doc); err != nil {
		s.problem(p.Digest, tag, "the manifest is no JSON document")
		return
	}
	for _, m := range doc.Manifests {
		s.entry(ctx, m, tag, depth+1)
	}
	for _, b := range doc.blobs() {
		s.blob(ctx, b, tag)
	}
}

// blob checks a blob, and reads it if whole is set.
func (s *survey) blob(ctx context.Context, p part, tag string) {
	if err := p.Digest.Validate(); err != nil {
		s.problem(p.Digest, tag, "is not a digest")
		return
	}
	if s.seen[p.Digest] || ctx.Err() != nil {
		return
	}
	s.seen[p.Digest] = true
	f, err := file.Open(blobPath(s.dir, p.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		if len(p.URLs) == 0 { // otherwise it is stored elsewhere
			s.problem(p.Digest, tag, "the blob is missing")
		}
		return
	}
	if err != nil {
		s.problem(p.Digest, tag, "the blob cannot be read: %v", err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		s.problem(p.Digest, tag, "the blob cannot be read: %v", err)
		return
	case info.Size() != p.Size:
		s.problem(p.Digest, tag, "the blob has %d bytes, and %d are wanted", info.Size(), p.Size)
		return
	}
	s.Blobs++
	s.Bytes += info.Size()
	if !s.whole {
		return
	}
	verifier := image.Verifier(p.Digest)
	if _, err := io.Copy(verifier, until{ctx, f}); err != nil {
		s.problem(p.Digest, tag, "the blob cannot be read: %v", err)
	} else if !verifier.Verified() {
		s.problem(p.Digest, tag, "the blob does not match its digest")
	}
}

// others calls f for the files that nothing reachable needs: blobs, and the remains of interrupted writes.
func (s *survey) others(ctx context.Context, f func(path string, info fs.FileInfo) error) error {
	for _, sub := range []string{blobsDir, tempDir} {
		err := filepath.WalkDir(filepath.Join(s.dir, sub), func(path string, e fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case ctx.Err() != nil:
				return ctx.Err()
			case !e.Type().IsRegular() || sub == blobsDir && s.seen[image.Digest(filepath.Base(filepath.Dir(path))+":"+e.Name())]:
				return nil
			}
			info, err := e.Info()
			if err != nil {
				return ignoreMissing(err)
			}
			return f(path, info)
		})
		if err != nil {
			return fmt.Errorf("layout: %w", err)
		}
	}
	return nil
}

// touch protects a file from collection while a writer relies on it. A file system that does not support that is no reason to fail.
func touch(path string) {
	now := time.Now()
	_ = os.Chtimes(path, now, now)
}
