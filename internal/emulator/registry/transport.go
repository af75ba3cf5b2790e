package registry

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
)

// Transport returns a RoundTripper that calls the gate without a socket, whatever host is asked for. Bodies stream both
// ways, and a request ends with its context, so it can be used in a synctest bubble.
func (g *Gate) Transport() http.RoundTripper { return handlerTransport{g} }

// Network is a RoundTripper for several hosts without sockets: it maps host or host:port, as in the URL, to a handler.
// Other hosts fail as if DNS did not know them.
type Network map[string]http.Handler

// RoundTrip implements http.RoundTripper.
func (n Network) RoundTrip(r *http.Request) (*http.Response, error) {
	handler, known := n[r.URL.Host]
	if !known {
		closeBody(r)
		return nil, &net.DNSError{Err: "no such host", Name: r.URL.Host, IsNotFound: true}
	}
	return handlerTransport{handler}.RoundTrip(r)
}

type handlerTransport struct{ handler http.Handler }

func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Context().Err() != nil {
		closeBody(r)
		return nil, context.Cause(r.Context())
	}
	// As on a socket, the handler's context ends when the client's does or when it closes the answer's body.
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), http.ServerContextKey, &http.Server{}))
	reader, writer := io.Pipe()
	out := &pipeWriter{
		request: r, header: http.Header{}, pipe: writer, length: -1,
		body: &pipeBody{PipeReader: reader, cancel: cancel}, ready: make(chan *http.Response, 1),
	}
	context.AfterFunc(ctx, func() { writer.CloseWithError(context.Cause(ctx)) })
	finished := make(chan error, 1)
	go func() {
		defer closeBody(r)
		err := call(t.handler, out, serverRequest(ctx, r))
		finished <- err
		out.finish(err)
	}()
	select {
	case response := <-out.ready:
		return response, nil
	case err := <-finished:
		if err != nil && len(out.ready) == 0 {
			cancel()
			return nil, err
		}
		return <-out.ready, nil
	case <-r.Context().Done():
		cancel()
		return nil, context.Cause(r.Context())
	}
}

// call runs the handler as net/http does: http.ErrAbortHandler breaks the connection. Other panics are bugs and stay.
func call(handler http.Handler, w *pipeWriter, r *http.Request) (err error) {
	defer func() {
		switch cause := recover(); cause {
		case nil:
		case http.ErrAbortHandler:
			err = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		default:
			panic(fmt.Sprintf("%s %s: %v", r.Method, r.URL, cause))
		}
	}()
	handler.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK)
	return nil
}

// serverRequest is the request as a server would have read it from a socket.
func serverRequest(ctx context.Context, r *http.Request) *http.Request {
	in := r.Clone(ctx)
	in.RequestURI = r.URL.RequestURI()
	in.RemoteAddr = "192.0.2.1:1234"
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if r.URL.Scheme == "https" {
		in.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	in.URL.Scheme, in.URL.Host, in.URL.User = "", "", nil
	if in.Body == nil {
		in.Body = http.NoBody
	}
	return in
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// pipeBody is an answer's body in the client's hands.
type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *pipeBody) Close() error {
	err := b.PipeReader.Close()
	b.cancel()
	return err
}

// pipeWriter is the http.ResponseWriter of a handlerTransport.
type pipeWriter struct {
	request *http.Request
	header  http.Header
	pipe    *io.PipeWriter
	body    io.ReadCloser
	ready   chan *http.Response
	once    sync.Once
	length  int64 // announced by Content-Length; -1 unknown
	written int64
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if status >= 100 && status < 200 {
		return
	}
	w.once.Do(func() {
		if n, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil {
			w.length = n
		}
		w.ready <- &http.Response{
			Status:     fmt.Sprintf("%03d %s", status, http.StatusText(status)),
			StatusCode: status,
			Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: w.header.Clone(), Body: w.body, ContentLength: w.length, Request: w.request,
		}
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.request.Method == http.MethodHead {
		return len(p), nil
	}
	n, err := w.pipe.Write(p)
	w.written += int64(n)
	return n, err
}

// Flush does nothing: what is written is with the client when Write returns.
func (w *pipeWriter) Flush() {}

// finish ends the body as the end of a connection would.
func (w *pipeWriter) finish(err error) {
	short := w.length > w.written && w.request.Method != http.MethodHead
	if err != nil || short {
		err = io.ErrUnexpectedEOF
	}
	w.pipe.CloseWithError(err) // nil is io.EOF
}
