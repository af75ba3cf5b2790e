package registry

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
)

// gzipWriter keeps an answer back until it is whole, and encodes it where it is a success with a body.
type gzipWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (w *gzipWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *gzipWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// finish sends the answer.
func (w *gzipWriter) finish(req *http.Request) {
	w.WriteHeader(http.StatusOK)
	out := w.body.Bytes()
	if w.status == http.StatusOK && req.Method == http.MethodGet {
		var packed bytes.Buffer
		compressor := gzip.NewWriter(&packed)
		_, err := compressor.Write(out)
		must(err)
		must(compressor.Close())
		out = packed.Bytes()
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	}
	w.ResponseWriter.WriteHeader(w.status)
	_, _ = w.ResponseWriter.Write(out) // an error is the client's leaving
}
