package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/regclient/regclient/types/descriptor"
	"github.com/regclient/regclient/types/errs"

	"github.com/draysync/dray/internal/image"
)

// OpenBlob starts the download of a blob. The caller closes the reader and checks the digest: the bytes are as the registry
// sends them.
func (c *Client) OpenBlob(ctx context.Context, repo image.Repository, d image.Descriptor) (io.ReadCloser, error) {
	if repo.IsLayout() {
		return c.layouts.OpenBlob(repo, d)
	}
	e, err := c.endpoint(ctx, repo)
	if err != nil {
		return nil, err
	}
	asked := blobDescriptor(d)
	asked.Size = 0 // regclient would ask again for a body of another length, and leave the first open
	r, err := e.reg.BlobGet(ctx, reference(repo.Digest(d.Digest)), asked)
	if err != nil {
		return nil, wrap("GET blob", repo.Registry, err)
	}
	if got := r.GetDescriptor().Size; got > 0 && d.Size > 0 && got != d.Size {
		_ = r.Close()
		return nil, &Error{
			Host: repo.Registry, Operation: "GET blob", Attempts: 1, ErrorCode: "SIZE_INVALID", plain: true,
			Message: fmt.Sprintf("the blob has %d bytes, %d were expected", got, d.Size), cause: permanentError{image.ErrCorrupt},
		}
	}
	return &wrapped{ReadCloser: r, host: repo.Registry}, nil
}

// wrapped gives the errors of a body the form of all errors of this package.
type wrapped struct {
	io.ReadCloser
	host string
}

func (w *wrapped) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err == nil || err == io.EOF { // not errors.Is: regclient's errors about a body wrap io.EOF, and are no end
		return n, err
	}
	if errors.Is(err, io.EOF) && !errors.Is(err, errs.ErrDigestMismatch) {
		err = io.ErrUnexpectedEOF
	}
	e := &Error{Host: w.host, Operation: "GET blob", Attempts: 1, Message: "the body broke off: " + clean(err.Error()), plain: true, cause: err}
	if errors.Is(err, errs.ErrDigestMismatch) {
		e.ErrorCode, e.Message, e.cause = "DIGEST_MISMATCH", "the blob has other bytes than its digest says", permanentError{image.ErrCorrupt}
	}
	return n, e
}

// HasBlob asks whether the repository has a blob.
func (c *Client) HasBlob(ctx context.Context, repo image.Repository, d image.Descriptor) (bool, error) {
	if repo.IsLayout() {
		return c.layouts.HasBlob(repo, d)
	}
	e, err := c.endpoint(ctx, repo)
	if err != nil {
		return false, err
	}
	_, err = e.reg.BlobHead(ctx, reference(repo.Digest(d.Digest)), blobDescriptor(d))
	if err = wrap("HEAD blob", repo.Registry, err); errors.Is(err, image.ErrAbsent) {
		return false, nil
	}
	return err == nil, err
}

// PutBlob brings a blob into a repository. It first asks the registry to mount it from the repository named from (empty:
// from wherever the registry has it); only where that is not granted does it call open, and streams what that returns in
// one request of d.Size bytes. It returns whether the blob was mounted. An upload that breaks is abandoned, never finished
// with other bytes: the registry checks the digest as well.
func (c *Client) PutBlob(ctx context.Context, repo image.Repository, d image.Descriptor, from image.Repository, open func() (io.ReadCloser, error)) (mounted bool, err error) {
	if repo.IsLayout() {
		return false, c.layouts.PutBlob(repo, d, open)
	}
	e, err := c.endpoint(ctx, repo)
	if err != nil {
		return false, err
	}
	ctx = context.WithValue(ctx, streaming{}, true)
	if from.Registry == repo.Registry && from != repo {
		ctx = context.WithValue(ctx, mounting{}, from.Path)
	}
	body := &lazyReader{open: open}
	defer func() { _ = body.Close() }() // a download that is over has nothing more to say
	_, err = e.reg.BlobPut(ctx, reference(image.Reference{Repository: repo}), blobDescriptor(d), body)
	opened, failure := body.state()
	if failure != nil {
		return false, failure // what broke is the reading side, whatever the registry made of the torn upload
	}
	return err == nil && !opened && d.Size > 0, wrap("PUT blob", repo.Registry, err)
}

// lazyReader opens what it reads at the first Read: a blob that is mounted is never asked for at its source.
type lazyReader struct {
	open func() (io.ReadCloser, error)

	mu     sync.Mutex
	body   io.ReadCloser
	opened bool
	err    error
}

func (l *lazyReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.opened {
		l.opened = true
		l.body, l.err = l.open()
	}
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.body.Read(p)
	if err != nil && err != io.EOF { // the end itself: an error that wraps io.EOF is a torn body
		l.err = err
	}
	return n, err
}

// Close closes what was opened. net/http may still be reading when a request has failed; the lock keeps the two apart.
func (l *lazyReader) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	body := l.body
	l.body = nil
	l.opened = true
	if l.err == nil {
		l.err = errClosed
	}
	if body == nil {
		return nil
	}
	return body.Close()
}

var errClosed = errors.New("the upload is over")

func (l *lazyReader) state() (opened bool, failure error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened, l.err
}

func blobDescriptor(d image.Descriptor) descriptor.Descriptor {
	return descriptor.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}
