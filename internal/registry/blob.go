package registry

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

const (
	getBlob  = "GET blob"
	headBlob = "HEAD blob"
)

func blobPath(repo image.Repository, d image.Digest) string { return repo.Path + "/blobs/" + string(d) }

// OpenBlob starts a download at an offset: from a mirror that has the blob, else from the registry, else from one of the URLs, which may be
// none. It resumes a download that breaks off. The caller closes the reader and checks the digest, since the bytes come unchecked; it
// reports wrong ones to Doubt.
func (c *Client) OpenBlob(ctx context.Context, repo image.Repository, d image.Descriptor, offset int64, urls []string) (io.ReadCloser, error) {
	if repo.IsLayout() {
		return c.layouts.OpenBlob(repo, d, offset)
	}
	if body := c.openMirrored(ctx, repo, d, offset); body != nil {
		return body, nil
	}
	e := c.endpoint(repo)
	body, err := e.download(ctx, e.request(ctx, http.MethodGet, blobPath(repo, d.Digest), nil, nil), repo, d, offset, false)
	for _, text := range urls {
		if err == nil || !errors.Is(err, image.ErrAbsent) {
			break
		}
		body, err = e.foreign(ctx, text, repo, d, offset)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// foreign starts a download at a URL that a manifest names for a layer.
func (e *endpoint) foreign(ctx context.Context, text string, repo image.Repository, d image.Descriptor, offset int64) (*download, error) {
	place, err := url.Parse(text)
	if err == nil {
		place, err = e.wire.Allowed(place)
	}
	if err != nil {
		return nil, e.refused(getBlob, err, "the URL of a layer: %s", wire.Clean(err.Error()))
	}
	req := e.request(ctx, http.MethodGet, "", nil, nil)
	req.URL = place
	return e.download(ctx, req, repo, d, offset, false)
}

// download is the body of a blob. When it breaks off, it requests the rest from the registry with a Range (RFC 9110, section 14), or
// everything if ranges are ignored. It fails only if that does not help.
type download struct {
	e      *endpoint
	req    *http.Request
	repo   image.Repository
	size   int64 // 0 if unknown
	digest image.Digest
	// mediaType is the media type in the manifest.
	mediaType string
	once      bool

	body io.ReadCloser
	read int64
	// whole is set if the body has a content coding, which cannot be resumed in the middle.
	whole bool
	// rangeless is set once the registry has answered a Range with something else.
	rangeless bool
	resumes   int
	idle      int
	// failure is why it could not be resumed; nil if it was not tried.
	failure error
}

// maxResumes limits how often a download is resumed, maxIdleResumes how often without progress.
const (
	maxResumes     = 50
	maxIdleResumes = 4
)

// download starts a download; once turns retries off, for one of several mirrors.
func (e *endpoint) download(ctx context.Context, req *http.Request, repo image.Repository, d image.Descriptor, offset int64, once bool) (*download, error) {
	r := &download{e: e, req: req.WithContext(ctx), repo: repo, size: d.Size, digest: d.Digest, mediaType: d.MediaType, once: once, read: offset}
	if err := r.open(once); err != nil {
		return nil, err
	}
	return r, nil
}

// errOtherRange is the cause of the error of an answer that is not the requested rest.
var errOtherRange = errors.New("another range")

// open requests the rest of the blob, and all of it from a registry that does not give the rest, or refuses to, as some proxies do.
func (r *download) open(once bool) error {
	err := r.request(once)
	if e, ok := errors.AsType[*Error](err); ok && r.read > 0 && !r.rangeless && (errors.Is(err, errOtherRange) || refusesRange(e)) {
		r.rangeless = true
		err = r.request(once)
	}
	return err
}

// refusesRange reports whether a refusal may concern the Range rather than the blob.
func refusesRange(e *Error) bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable,
		http.StatusNotImplemented:
		return !e.OfToken()
	}
	return false
}

func (r *download) request(once bool) error {
	req := r.req.Clone(r.req.Context())
	if r.read > 0 && !r.rangeless {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", r.read))
	}
	resp, err := r.e.auth.Do(req, wire.Call{Operation: getBlob, Lane: wire.Downloads, Once: once}, auth.Pull(r.repo.Path))
	if err != nil {
		return err
	}
	if err = r.accept(resp); err != nil {
		_ = resp.Body.Close() // unusable
	}
	return err
}

// accept takes an answer that continues at the wanted byte, or skips what was read before if it starts over.
func (r *download) accept(resp *http.Response) error {
	r.body = resp.Body
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if !strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Range")), fmt.Sprintf("bytes %d-", r.read)) {
			return r.e.refused(getBlob, errOtherRange, "it was asked to resume at byte %d, and resumed elsewhere", r.read)
		}
		_, total, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
		whole, _ := number(total) // "*" if unknown
		if r.fits(whole) != nil {
			return r.e.refused(getBlob, errOtherRange, "it was asked to resume a blob of %d bytes, and resumed one of %d", r.size, whole)
		}
		return nil
	case http.StatusOK, http.StatusNonAuthoritativeInfo: // a proxy may have changed it; the digest says whether that matters
	default:
		return r.e.refused(getBlob, nil, "it answered %d instead of sending the blob", resp.StatusCode)
	}
	if err := r.refusePage(resp); err != nil {
		return err
	}
	if resp.ContentLength != r.size {
		if err := r.decode(resp); err != nil {
			return err
		}
	}
	if !r.whole {
		if err := r.fits(resp.ContentLength); err != nil {
			return err
		}
	}
	if _, err := io.CopyN(io.Discard, r.body, r.read); err != nil {
		return r.broken(err)
	}
	return nil
}

// maxPage limits the web pages that are told from blobs, in bytes.
const maxPage = 1 << 20

// refusePage refuses a web page in the place of a blob. What has the blob's digest is one, whatever the registry calls it.
func (r *download) refusePage(resp *http.Response) error {
	if !strings.Contains(resp.Header.Get("Content-Type"), "html") {
		return nil
	}
	start, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	r.body = readCloser{io.MultiReader(bytes.NewReader(start), resp.Body), resp.Body}
	if err != nil || len(start) == maxPage || !isPage(start) || image.DigestOf(start, r.digest) == r.digest {
		return nil //nolint:nilerr // the reader meets the error
	}
	return r.e.refused(getBlob, image.ErrCorrupt, "it sent no blob, but %s", kindOf(start, ""))
}

// decode removes a content coding.
func (r *download) decode(resp *http.Response) error {
	open := wire.Inflated
	switch coding := wire.CodingOf(resp.Header); {
	case strings.Contains(coding, "gzip"):
		if !r.zipped(resp) {
			return nil
		}
		open = func(body io.Reader) (io.Reader, error) { return gzip.NewReader(body) }
	case coding != wire.Deflate:
		return nil
	}
	most := 2*r.size + 1<<20 // limits bodies that never end
	coded, err := open(wire.Ration{Reader: r.body, Left: &most})
	if err != nil {
		return r.e.refused(getBlob, err, "its content coding cannot be decoded: %v", err)
	}
	r.whole, r.body = true, readCloser{coded, resp.Body}
	return nil
}

// zipped reports whether a body has the content coding gzip. The header alone does not tell: object stores also send it with a blob that is
// compressed itself. If the length does not tell either, a body that is compressed twice had a coding; otherwise the media type decides.
func (r *download) zipped(resp *http.Response) bool {
	body := bufio.NewReader(r.body)
	r.body = readCloser{body, resp.Body}
	if start, _ := body.Peek(2); string(start) != gzipMagic { // the reader meets the error
		return false
	}
	if resp.ContentLength >= 0 || !strings.Contains(r.mediaType, "gzip") {
		return true
	}
	begun, _ := body.Peek(body.Size())
	inner := make([]byte, 2)
	if once, err := gzip.NewReader(bytes.NewReader(begun)); err == nil {
		_, _ = io.ReadFull(once, inner) // what is too short has no second coding
	}
	return string(inner) == gzipMagic
}

type readCloser struct {
	io.Reader
	io.Closer
}

const gzipMagic = "\x1f\x8b" // RFC 1952, 2.3.1

// fits compares the announced length of the blob, if any, with the wanted one.
func (r *download) fits(length int64) error {
	if r.size == 0 && length > 0 {
		r.size = length
	}
	if length <= 0 || length == r.size {
		return nil
	}
	e := r.e.refused(getBlob, image.ErrCorrupt, "the blob has %d bytes, %d were expected", length, r.size)
	e.ErrorCode = "SIZE_INVALID"
	return e
}

// Read implements io.Reader.
func (r *download) Read(p []byte) (int, error) {
	for {
		n, err := r.body.Read(p)
		r.read += int64(n)
		if n > 0 {
			r.idle = 0
		}
		if err == nil || err == io.EOF && (r.size == 0 || r.read >= r.size) { // one that wraps io.EOF is a broken body
			return n, err
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if n > 0 {
			return n, nil // the next Read meets the same end
		}
		if errors.Is(err, wire.ErrSlow) || !r.again() {
			return 0, r.broken(err)
		}
	}
}

// again opens the rest of the body.
func (r *download) again() bool {
	ctx := r.req.Context()
	for !r.once && !r.whole && r.size > 0 && r.resumes < maxResumes && r.idle < maxIdleResumes && ctx.Err() == nil {
		_ = r.body.Close() // broken
		r.resumes++
		r.idle++
		if r.e.pause(ctx, r.idle) != nil {
			return false
		}
		r.failure = nil
		if r.failure = r.open(true); r.failure == nil {
			return true
		}
		if e, ok := errors.AsType[*Error](r.failure); ok && !e.Temporary() {
			return false
		}
	}
	return false
}

// broken returns the error of a body that broke off, with why it could not be resumed.
func (r *download) broken(err error) error {
	e := &Error{Host: r.e.registry, Operation: getBlob, Attempts: r.resumes + 1, Message: "the body broke off: " + wire.Clean(err.Error()), Cause: err}
	if r.failure != nil {
		e.Message += ", and it could not be resumed: " + wire.Clean(r.failure.Error())
	}
	return e
}

// Close releases the connection.
func (r *download) Close() error { return r.body.Close() }

// HasBlob reports whether a target repository has a blob. It asks for the rights to push. The error wraps image.ErrHidden if the answer
// leaves that open.
func (c *Client) HasBlob(ctx context.Context, repo image.Repository, d image.Descriptor) (bool, error) {
	if repo.IsLayout() {
		return c.layouts.HasBlob(ctx, repo, d)
	}
	e := c.endpoint(repo)
	err := e.headBlob(ctx, repo, d.Digest)
	if errors.Is(err, image.ErrAbsent) {
		return false, nil
	}
	return err == nil, c.hidden(ctx, repo, err)
}

func (e *endpoint) headBlob(ctx context.Context, repo image.Repository, d image.Digest) error {
	req := e.request(ctx, http.MethodHead, blobPath(repo, d), nil, nil)
	_, err := e.auth.Do(req, wire.Call{Operation: headBlob, Deadline: callDeadline, Read: nothing}, auth.Push(repo.Path))
	return err
}
