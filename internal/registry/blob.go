package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/regclient/regclient/types/descriptor"

	"github.com/draysync/dray/internal/image"
)

// OpenBlob starts the download of a blob at an offset, at a mirror of the registry where that has it, at the registry itself, or else
// at one of the URLs, which may be none.
// The caller closes the reader and checks the digest: the bytes are as the registry sends them.
func (c *Client) OpenBlob(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64, urls []string) (io.ReadCloser, error) {
	if repo.IsLayout() {
		return c.layouts.OpenBlob(repo, d, offset)
	}
	if body := c.openMirrored(ctx, repo, d, offset); body != nil {
		return body, nil
	}
	return c.openBlob(ctx, repo, d, offset, urls)
}

func (c *Client) openBlob(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64, urls []string) (io.ReadCloser, error) {
	asked := blobDescriptor(d)
	asked.URLs = urls
	asked.Size = 0 // regclient would ask again for a body of another length, and leave the first open
	var opened *wrapped
	err := c.run(ctx, call{repo: repo, keep: true, do: func(ctx context.Context, e *endpoint, p *place) error {
		r, err := e.reg.BlobGet(context.WithValue(ctx, startingAt{}, offset), reference(repo.Digest(d.Digest)), asked)
		if err != nil {
			return wrap("GET blob", repo.Registry, err)
		}
		if got := r.GetDescriptor().Size; got > 0 && d.Size > 0 && got != d.Size-offset {
			_ = r.Close()
			return &Error{
				Host: repo.Registry, Operation: "GET blob", Attempts: 1, ErrorCode: "SIZE_INVALID", plain: true,
				Message: fmt.Sprintf("the blob has %d bytes, %d were expected", got+offset, d.Size), cause: permanentError{image.ErrCorrupt},
			}
		}
		// Not regclient's reader: it computes the digest that the caller computes as well.
		opened = &wrapped{body: r.Response().Body, reader: r, place: p, host: repo.Registry} //nolint:bodyclose // reader closes it
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// wrapped gives the errors of a body the form of all errors of this package, and leaves the place of its download.
type wrapped struct {
	body   io.Reader
	reader io.Closer
	place  *place
	host   string
}

// Read implements io.Reader.
func (w *wrapped) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	if err == nil {
		return n, nil
	}
	w.place.leave()
	if err == io.EOF {
		return n, err
	}
	return n, &Error{Host: w.host, Operation: "GET blob", Attempts: 1, Message: "the body broke off: " + clean(err.Error()), plain: true, cause: err}
}

// Close gives the connection back.
func (w *wrapped) Close() error {
	defer w.place.leave()
	return w.reader.Close()
}

// HasBlob asks whether the repository, a target, has a blob. The error wraps image.ErrHidden where the registry does not say.
func (c *Client) HasBlob(ctx context.Context, repo image.Repository, d image.Descriptor) (bool, error) {
	if repo.IsLayout() {
		return c.layouts.HasBlob(repo, d)
	}
	err := c.run(ctx, call{repo: repo, do: func(ctx context.Context, e *endpoint, _ *place) error {
		_, err := e.reg.BlobHead(ctx, reference(repo.Digest(d.Digest)), blobDescriptor(d))
		return wrap(headBlob, repo.Registry, err)
	}})
	if errors.Is(err, image.ErrAbsent) {
		return false, nil
	}
	return err == nil, c.hidden(ctx, repo, err)
}

// PutBlob brings a blob into a repository. It first asks the registry to mount it from the repository named from (empty: none
// is known); only where that is not granted does it call open, which returns the blob from an offset on, and again where an
// upload breaks and is to go on. It returns whether the blob was mounted. An upload that fails is abandoned, never finished with
// other bytes: the registry checks the digest as well.
func (c *Client) PutBlob(ctx context.Context, repo image.Repository, d image.Descriptor, from image.Repository, open func(offset int64) (io.ReadCloser, error)) (mounted bool, err error) {
	if repo.IsLayout() {
		return false, c.layouts.PutBlob(ctx, repo, d, func() (io.ReadCloser, error) { return open(0) })
	}
	up := &upload{desc: d, repository: repo.Path, open: open}
	defer up.close()
	ctx = context.WithValue(ctx, inUpload{}, up)
	if from.Registry == repo.Registry && from != repo {
		ctx = context.WithValue(ctx, mounting{}, from.Path)
	}
	err = c.run(ctx, call{repo: repo, write: true, do: func(ctx context.Context, e *endpoint, _ *place) error {
		if err := c.closed.check(repo); err != nil {
			return err
		}
		err := up.put(ctx, e, repo)
		c.closed.note(repo, err)
		return err
	}})
	opened, failure := up.reading()
	if failure != nil {
		return false, failure // what broke is the reading side, whatever the registry made of the torn upload
	}
	return err == nil && !opened && d.Size > 0, err
}

// put has regclient start the upload, and start another where its session was lost.
func (u *upload) put(ctx context.Context, e *endpoint, repo image.Repository) (err error) {
	u.challenged = nil
	for again := true; again; {
		_, err = e.reg.BlobPut(ctx, reference(image.Reference{Repository: repo}), blobDescriptor(u.desc), standIn{u})
		again = err != nil && u.lost && ctx.Err() == nil // each session that is lost counts as a failure of the upload
		u.lost = false
	}
	if err != nil && u.challenged != nil {
		err = u.challenged
	}
	return wrap("PUT blob", repo.Registry, err)
}

func blobDescriptor(d image.Descriptor) descriptor.Descriptor {
	return descriptor.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}
