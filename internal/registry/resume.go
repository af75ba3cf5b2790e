package registry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

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

// resumable tells whether an answer is a blob's body that can be taken up again.
func resumable(req *http.Request, resp *http.Response) bool {
	return req.Method == http.MethodGet && req.Context().Value(guarded{}) == nil && resp.StatusCode == http.StatusOK &&
		resp.ContentLength > 0 && req.Header.Get("Range") == "" && (strings.Contains(req.URL.Path, "/blobs/") || req.Response != nil)
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
