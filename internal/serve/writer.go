package serve

import (
	"cmp"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/layout"
)

// piece is how much of an answer has one time limit, in bytes.
const piece = 1 << 20

// writer is an answer of which each piece must be taken within a time limit.
type writer struct {
	http.ResponseWriter

	control *http.ResponseController
	limit   time.Duration
	// status is that of the answer, and sent how many bytes its body has so far.
	status int
	sent   int64
}

func newWriter(w http.ResponseWriter, limit time.Duration) *writer {
	return &writer{ResponseWriter: w, control: http.NewResponseController(w), limit: limit}
}

func (w *writer) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(w.limit)) } // the server's own limit holds where it cannot

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	w.extend()
	w.status = cmp.Or(w.status, status)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	w.extend()
	w.status = cmp.Or(w.status, http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom, so that the system can send files by itself.
func (w *writer) ReadFrom(r io.Reader) (sent int64, err error) {
	limited, _ := r.(*io.LimitedReader)
	to, can := w.ResponseWriter.(io.ReaderFrom)
	if limited == nil || !can {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	content, ok := limited.R.(*layout.Content)
	if !ok {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	w.status = cmp.Or(w.status, http.StatusOK)
	for limited.N > 0 {
		w.extend()
		n, err := to.ReadFrom(&io.LimitedReader{R: content.File, N: min(piece, limited.N)})
		sent, limited.N = sent+n, limited.N-n
		w.sent += n
		if err != nil || n == 0 {
			return sent, err
		}
	}
	return sent, nil
}

// identify says which content an answer has.
func (w *writer) identify(d image.Digest) {
	w.Header().Set("Docker-Content-Digest", string(d))
	w.Header().Set("ETag", strconv.Quote(string(d)))
}

func (w *writer) answer(status int, mediaType string, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}
