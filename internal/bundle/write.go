package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/draysync/dray/internal/file"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

const (
	// partEnding ends the name of a file that is not complete.
	partEnding = ".part"
	// chunk is how many bytes are read, hashed and written at once.
	chunk = 1 << 20
)

// writer writes the volumes of a bundle, in their order.
type writer struct {
	*collection
	to     string
	buffer []byte
	// body is the content that the next volume continues, and sum the hash of what was read of it; nil for none.
	body io.ReadCloser
	sum  hash.Hash
	// kept counts volumes that were there already.
	kept int
}

// volume writes a volume, and fills in its size and digest. A file that is there under its name, complete or not, is changed only from where it
// differs on.
func (w *writer) volume(ctx context.Context, i int) (err error) {
	v := &w.Volumes[i]
	path := filepath.Join(w.to, v.Name)
	if err := os.Rename(path, path+partEnding); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err //nolint:wrapcheck // it names the file
	}
	f, err := os.OpenFile(path+partEnding, os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // images are no secret
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	out := &patch{f: f}
	whole := sha256.New()
	if v.Size, err = w.write(ctx, i, out, whole); err != nil {
		return err
	}
	v.Digest = digestOf(whole)
	wrote, err := out.end()
	switch {
	case err != nil:
		return err
	case !wrote:
		w.kept++
	default:
		if err := reread(ctx, f, v.Digest, w.buffer); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := errors.Join(f.Close(), os.Rename(path+partEnding, path)); err != nil {
		return err
	}
	return file.SyncDir(w.to)
}

func digestOf(h hash.Hash) image.Digest { return image.Digest(fmt.Sprintf("sha256:%x", h.Sum(nil))) }

// write writes the bytes of a volume to out and to whole. It returns how many there are.
func (w *writer) write(ctx context.Context, i int, out, whole io.Writer) (n int64, err error) {
	err = w.stretches(i, func(s stretch) error {
		n += int64(len(s.known)) + s.part.Size
		if err := together(s.known, out, whole); err != nil || s.part.Digest == "" {
			return err
		}
		return w.part(ctx, s.part, out, whole)
	})
	return n, err
}

// part writes a part of some content, which is checked at its end.
func (w *writer) part(ctx context.Context, p Part, out, whole io.Writer) (err error) {
	if p.Offset == 0 {
		if w.body, err = w.open(p.Digest); err != nil {
			return err
		}
		w.sum = image.Hash(p.Digest)
	}
	for left := p.Size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := w.buffer[:min(left, chunk)]
		if _, err := io.ReadFull(w.body, b); err != nil {
			return fmt.Errorf("%s: %w", p.Digest, err)
		}
		if err := together(b, out, whole, w.sum); err != nil {
			return err
		}
		left -= int64(len(b))
	}
	if p.Offset+p.Size < w.size[p.Digest] {
		return nil
	}
	if err := w.body.Close(); err != nil {
		return err
	}
	w.body = nil
	if !image.HasSum(p.Digest, w.sum) {
		return fmt.Errorf("%s in %s: %w; %s", p.Digest, w.in[p.Digest], image.ErrCorrupt, layout.WayOut)
	}
	return nil
}

func (w *writer) close() {
	if w.body != nil {
		w.body.Close()
	}
}

// together writes bytes to several writers at the same time: hashes take as long as disks do.
func together(b []byte, first io.Writer, others ...io.Writer) error {
	var group sync.WaitGroup
	for _, other := range others {
		group.Go(func() { _, _ = other.Write(b) }) // a hash never fails
	}
	_, err := first.Write(b)
	group.Wait()
	return err
}

// patch writes a file from where it differs from what is written.
type patch struct {
	f      *os.File
	at     int64
	differ bool
	buffer []byte
}

func (p *patch) Write(b []byte) (int, error) {
	if !p.differ {
		if len(p.buffer) < len(b) {
			p.buffer = make([]byte, max(len(b), chunk))
		}
		n, err := p.f.ReadAt(p.buffer[:len(b)], p.at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if bytes.Equal(p.buffer[:n], b) {
			p.at += int64(n)
			return n, nil
		}
		p.differ = true
	}
	n, err := p.f.WriteAt(b, p.at)
	p.at += int64(n)
	return n, err
}

// end cuts off what is too much, makes the file durable, and reports whether it was changed.
func (p *patch) end() (changed bool, err error) {
	info, err := p.f.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() > p.at {
		p.differ = true
		err = p.f.Truncate(p.at)
	}
	return p.differ, errors.Join(err, p.f.Sync())
}

// reread reads a file from the medium, and compares it with its digest.
func reread(ctx context.Context, f *os.File, want image.Digest, buffer []byte) error {
	file.DropCache(f)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	for {
		n, err := f.Read(buffer)
		_, _ = sum.Write(buffer[:n])
		switch {
		case errors.Is(err, io.EOF) && digestOf(sum) != want:
			return errors.New("what was read back is not what was written: the medium is damaged")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// writeDocument writes a document, as a whole.
func writeDocument(path string, raw []byte) error {
	// No mode is set: FAT refuses.
	f, err := os.OpenFile(path+partEnding, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644) //nolint:gosec // digests are no secret
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	_, err = f.Write(raw)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+partEnding, path); err != nil {
		return err //nolint:wrapcheck // it names the files
	}
	return file.SyncDir(filepath.Dir(path))
}
