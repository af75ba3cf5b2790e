package registry

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strconv"
)

// Coding is a content coding (RFC 9110, 8.4.1).
type Coding string

// The codings. BareDeflate is what some servers send as deflate: without the zlib format around it.
const (
	Gzip        Coding = "gzip"
	Deflate     Coding = "deflate"
	BareDeflate Coding = "bare deflate"
)

// header is the value of Content-Encoding.
func (c Coding) header() string {
	if c == BareDeflate {
		return string(Deflate)
	}
	return string(c)
}

// Encode returns data in the coding.
func (c Coding) Encode(data []byte) []byte {
	var packed bytes.Buffer
	var compressor io.WriteCloser
	switch c {
	case Gzip:
		compressor = gzip.NewWriter(&packed)
	case Deflate:
		compressor = zlib.NewWriter(&packed)
	case BareDeflate:
		bare, err := flate.NewWriter(&packed, flate.DefaultCompression)
		must(err)
		compressor = bare
	}
	_, err := compressor.Write(data)
	must(err)
	must(compressor.Close())
	return packed.Bytes()
}

// codingWriter keeps an answer back until it is whole, and encodes it where it is a success with a body.
type codingWriter struct {
	http.ResponseWriter
	coding Coding
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (w *codingWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *codingWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// finish sends the answer.
func (w *codingWriter) finish(req *http.Request) {
	w.WriteHeader(http.StatusOK)
	out := w.body.Bytes()
	if w.status == http.StatusOK && req.Method == http.MethodGet {
		out = w.coding.Encode(out)
		w.Header().Set("Content-Encoding", w.coding.header())
		w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	}
	w.ResponseWriter.WriteHeader(w.status)
	_, _ = w.ResponseWriter.Write(out) // an error is the client's leaving
}
