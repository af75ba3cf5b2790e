package transfer

import (
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/draysync/dray/internal/image"
)

// checked is a blob whose size and digest are checked while it is read: once, or again from an offset at which its upload broke off. It
// returns the last bytes only if the digest is right, so that an upload of wrong bytes never gets its full length and is never completed.
type checked struct {
	want image.Descriptor
	// open returns the bytes from an offset on.
	open func(offset int64) (io.ReadCloser, error)
	// moved is called with the number of bytes read.
	moved func(int64)

	hash hash.Hash
	read int64
	// marks are saved hash states, to which it can return.
	marks []mark
}

// mark is the state of a hash after so many bytes.
type mark struct {
	at    int64
	state []byte
}

// markEvery is the approximate number of bytes between two marks. A mark has some hundred bytes.
const markEvery = 4 << 20

// half is an interrupted upload of a blob: where to resume it, and the hash of what was sent.
type half struct {
	left  string
	marks []mark
}

// halfLife is how long a half is worth resuming. lateMarks is how many of its marks are kept: a registry may have lost the end of a request
// that broke off.
const (
	halfLife  = 24 * time.Hour
	lateMarks = 8
)

// lately returns the last marks and the present state.
func (c *checked) lately() []mark {
	marks := c.marks
	if state, ok := c.hash.(encoding.BinaryMarshaler); ok {
		if state, err := state.MarshalBinary(); err == nil {
			marks = append(marks, mark{c.read, state})
		}
	}
	return slices.Clone(marks[max(0, len(marks)-lateMarks):])
}

// from opens the blob at an offset up to which it was read before. Only the stream opened last may be read.
func (c *checked) from(offset int64) (io.ReadCloser, error) {
	if err := c.rewind(offset); err != nil {
		return nil, err
	}
	body, err := c.open(c.read)
	if err != nil {
		return nil, err
	}
	s := &stream{checked: c, body: body}
	if _, err := io.CopyN(io.Discard, s, offset-c.read); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return s, nil
}

// rewind resets the hash to an offset, or to the last mark before it.
func (c *checked) rewind(offset int64) error {
	if c.hash != nil && offset == c.read {
		return nil
	}
	c.hash, c.read = image.Hash(c.want.Digest), 0
	for len(c.marks) > 0 && c.marks[len(c.marks)-1].at > offset {
		c.marks = c.marks[:len(c.marks)-1]
	}
	state, ok := c.hash.(encoding.BinaryUnmarshaler)
	if !ok || len(c.marks) == 0 {
		return nil
	}
	last := c.marks[len(c.marks)-1]
	if err := state.UnmarshalBinary(last.state); err != nil {
		return fmt.Errorf("blob %s: go back to byte %d: %w", c.want.Digest, last.at, err)
	}
	c.read = last.at
	return nil
}

// take adds bytes to the hash.
func (c *checked) take(p []byte) {
	before := c.read
	_, _ = c.hash.Write(p) // hashes return no errors
	c.read += int64(len(p))
	state, ok := c.hash.(encoding.BinaryMarshaler)
	if before/markEvery == c.read/markEvery || !ok {
		return
	}
	if state, err := state.MarshalBinary(); err == nil {
		c.marks = append(c.marks, mark{c.read, state})
	}
}

// stream is the blob from an offset on.
type stream struct {
	*checked
	body io.ReadCloser
}

// Read implements io.Reader. For a blob that ends early it returns io.ErrUnexpectedEOF, for one with other bytes image.ErrCorrupt.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.take(p[:n])
	switch {
	case s.read > s.want.Size:
		return 0, fmt.Errorf("blob %s is longer than its %d bytes: %w", s.want.Digest, s.want.Size, image.ErrCorrupt)
	case s.read == s.want.Size && (n > 0 || errors.Is(err, io.EOF)) && !image.HasSum(s.want.Digest, s.hash):
		return 0, fmt.Errorf("blob %s does not match its digest: %w", s.want.Digest, image.ErrCorrupt)
	case errors.Is(err, io.EOF) && s.read < s.want.Size:
		err = brokenOff{fmt.Errorf("blob %s ended after %d of %d bytes: %w", s.want.Digest, s.read, s.want.Size, io.ErrUnexpectedEOF)}
	}
	s.moved(int64(n))
	return n, err
}

// Close closes the body.
func (s *stream) Close() error { return s.body.Close() }

// brokenOff marks a body that ended early, which a retry may fix.
type brokenOff struct{ error }

// Temporary implements the interface by which package mirror decides on retries.
func (brokenOff) Temporary() bool { return true }

// Unwrap returns the cause.
func (b brokenOff) Unwrap() error { return b.error }
