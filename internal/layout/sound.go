package layout

import (
	"context"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/flight"
	"github.com/draysync/dray/internal/image"
)

// sound remembers which files match their digests. A file that someone else wrote, or damaged, may have the right size as well, so it is
// read once before anything relies on it.
type sound struct {
	mu      sync.Mutex
	known   map[string]finding
	reading flight.Group[bool]
}

// stamp is the state of a file when its bytes were right.
type stamp struct {
	size     int64
	modified time.Time
}

// finding is whether the bytes of a file were right when it had this state.
type finding struct {
	stamp

	right bool
}

func stampOf(info fs.FileInfo) stamp { return stamp{info.Size(), info.ModTime()} }

// maxSound limits the number of remembered files.
const maxSound = 100_000

// check reports whether a file matches its digest, and marks such a file as in use.
func (s *sound) check(ctx context.Context, path string, d image.Digest, info fs.FileInfo) (bool, error) {
	right, err := s.look(ctx, path, d, info)
	if err != nil || !right {
		return false, err
	}
	touch(path)
	s.note(path)
	return true, nil
}

// look reports whether a file matches its digest. It reads a file that it has not read in the state that info has.
func (s *sound) look(ctx context.Context, path string, d image.Digest, info fs.FileInfo) (bool, error) {
	if right, known := s.found(path, info); known {
		return right, nil
	}
	right, err := s.reading.Do(ctx, path, func(ctx context.Context) (bool, error) { return hasBytes(ctx, path, d) })
	if now, statErr := os.Stat(path); err == nil && statErr == nil && stampOf(now) == stampOf(info) {
		s.remember(path, info, right)
	}
	return right, err
}

// found returns what is known of a file in a state.
func (s *sound) found(path string, info fs.FileInfo) (right, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.known[path]
	known = ok && f.stamp == stampOf(info)
	return f.right && known, known
}

func hasBytes(ctx context.Context, path string, d image.Digest) (bool, error) {
	f, err := file.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return false, err
	}
	verifier := image.Verifier(d)
	if _, err := io.Copy(verifier, until{ctx, f}); err != nil || !verifier.Verified() {
		return false, err
	}
	after, err := os.Stat(path)
	return err == nil && stampOf(after) == stampOf(before), err // otherwise it was written meanwhile
}

// note remembers a file whose bytes are right.
func (s *sound) note(path string) {
	info, err := os.Stat(path)
	if err != nil {
		return // whoever needs it meets the error
	}
	s.remember(path, info, true)
}

func (s *sound) remember(path string, info fs.FileInfo, right bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxSound {
		s.known = map[string]finding{}
	}
	s.known[path] = finding{stampOf(info), right}
}
