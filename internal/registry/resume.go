package registry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// startingAt is the key under which a context carries the offset at which a download begins.
type startingAt struct{}

// offsetOf returns the offset at which a request for a blob begins, and whether it is one.
func offsetOf(req *http.Request) (offset int64, download bool) {
	offset, download = req.Context().Value(startingAt{}).(int64)
	return offset, download
}

// ranged makes a download begin at its offset.
func ranged(req *http.Request) *http.Request {
	if offset, _ := offsetOf(req); offset > 0 {
		req = req.Clone(req.Context())
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	return req
}

// maxResumes bounds how often one download is taken up again, and maxIdleResumes how often without a byte in between.
const (
	maxResumes     = 50
	maxIdleResumes = 4
)

// resuming is the body of a blob that goes on where it broke off, with a Range request (RFC 9110, section 14), or from the
// start where the registry ignores ranges. It ends with an error only when that does not help.
type resuming struct {
	t    *transport
	req  *http.Request
	body io.ReadCloser
	// size is the length that was announced, read what has come of it.
	size, read int64
	resumes    int
	idle       int
}

// resumable makes the answer to a request for a blob one that begins where it was asked to and can be taken up again. It leaves
// alone what is no such answer.
func (t *transport) resumable(req *http.Request, resp *http.Response) {
	offset, download := offsetOf(req)
	if !download || resp.ContentLength <= 0 {
		return
	}
	body := &resuming{t: t, req: req, body: resp.Body, size: resp.ContentLength, read: offset}
	if resp.StatusCode == http.StatusPartialContent {
		body.size += offset
	}
	if offset > 0 && !body.fits(resp) {
		return // regclient takes 206 for a failure
	}
	resp.StatusCode, resp.Body = http.StatusOK, body
}

// Read implements io.Reader.
func (r *resuming) Read(p []byte) (int, error) {
	for {
		n, err := r.body.Read(p)
		r.read += int64(n)
		if n > 0 {
			r.idle = 0
		}
		if err == nil || err == io.EOF && r.read >= r.size {
			return n, err
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if n > 0 {
			return n, nil // the next Read meets the same end
		}
		if again := r.again(err); again != nil {
			return 0, again
		}
	}
}

// again opens the rest of the body; it returns the error that broke it where that cannot be had.
func (r *resuming) again(broken error) error {
	ctx := r.req.Context()
	for r.resumes < maxResumes && r.idle < maxIdleResumes && ctx.Err() == nil {
		_ = r.body.Close() // it is broken
		r.resumes++
		r.idle++
		r.t.log.LogAttrs(ctx, slog.LevelDebug, "download broke off, going on", slog.String("registry", r.req.URL.Host),
			slog.Int("attempt", r.resumes), slog.Int64("bytes", r.read), slog.Any("err", broken))
		if sleep(ctx, r.t.retries.pause(r.idle)/4) != nil {
			break
		}
		req := r.req.Clone(ctx)
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", r.read))
		resp, err := r.t.once(req, nil) //nolint:bodyclose // it becomes the body that Close closes
		if err != nil {
			continue
		}
		r.body = resp.Body
		if r.fits(resp) {
			return nil
		}
		if !retryableStatus(resp.StatusCode) {
			break
		}
	}
	return broken
}

// fits tells whether an answer goes on with the byte that is wanted, and skips what came before where it begins anew.
func (r *resuming) fits(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		return strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", r.read))
	case http.StatusOK:
		_, err := io.CopyN(io.Discard, resp.Body, r.read)
		return err == nil
	}
	return false
}

// Close closes the body.
func (r *resuming) Close() error { return r.body.Close() }
