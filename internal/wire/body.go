package wire

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/draysync/dray/internal/lazyregexp"
)

// ErrTooLong reports an answer that exceeds its size limit.
var ErrTooLong = errors.New("the answer is too long")

// ReadAll reads an answer and fails after most bytes. It decodes a compression that the request did not ask for; the limit applies to the
// decoded bytes.
func ReadAll(resp *http.Response, most int64) ([]byte, error) {
	body, err := Decoded(resp, most)
	if err != nil {
		return nil, err
	}
	return Bounded(body, most)
}

// Bounded reads r to its end and fails after most bytes.
func Bounded(r io.Reader, most int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(raw)) > most {
		err = ErrTooLong
	}
	return raw, err //nolint:wrapcheck // of the reader
}

// Decoded returns the body without a content coding that the request did not ask for (RFC 9110, 8.4). It checks the bytes as well as the
// header: some object stores send the header with content that was compressed before it was stored. It stops after most encoded bytes,
// since some encoded bodies never end.
func Decoded(resp *http.Response, most int64) (io.Reader, error) {
	most++ // one byte more shows that the body is too long
	body := Ration{resp.Body, &most}
	coding := CodingOf(resp.Header)
	switch coding {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		start := make([]byte, 2)
		n, err := io.ReadFull(body, start)
		whole := io.MultiReader(bytes.NewReader(start[:n]), body)
		if err != nil || start[0] != 0x1f || start[1] != 0x8b { // RFC 1952, 2.3.1
			return whole, nil //nolint:nilerr // the reader meets the error
		}
		return gzip.NewReader(whole)
	case Deflate:
		return Inflated(body)
	}
	return nil, fmt.Errorf("its body has the content coding %s, which was not requested", Clean(coding))
}

// Deflate is the content coding that [Inflated] decodes.
const Deflate = "deflate"

// CodingOf returns the content coding that an answer names, in lower case.
func CodingOf(h http.Header) string {
	return strings.ToLower(strings.TrimSpace(h.Get("Content-Encoding")))
}

// Inflated decodes a body with the content coding deflate: the zlib format (RFC 9110, 8.4.1.2), or bare deflate, which some servers send
// instead. It returns a body that is neither as it is.
func Inflated(body io.Reader) (io.Reader, error) {
	const probed = 64 << 10 // bytes of the trial, which may decode to much
	in := bufio.NewReader(body)
	start, _ := in.Peek(in.Size()) // the reader meets the error
	switch {
	case len(start) < 2 || start[0] == '{' || start[0] == '[': // bare deflate that begins so is no text
		return in, nil
	case start[0]&0x0f == 8 && (int(start[0])<<8|int(start[1]))%31 == 0: // RFC 1950, 2.2
		return zlib.NewReader(in)
	}
	_, err := io.CopyN(io.Discard, flate.NewReader(bytes.NewReader(start)), probed)
	if _, corrupt := errors.AsType[flate.CorruptInputError](err); corrupt {
		return in, nil
	}
	return flate.NewReader(in), nil
}

// Ration reads at most *Left bytes, a budget that several readers can share.
type Ration struct {
	io.Reader
	Left *int64
}

// Read implements io.Reader.
func (r Ration) Read(p []byte) (int, error) {
	if *r.Left <= 0 {
		return 0, ErrTooLong
	}
	n, err := r.Reader.Read(p[:min(int64(len(p)), *r.Left)])
	*r.Left -= int64(n)
	return n, err
}

// errorBody is the body of a failure by the OCI distribution spec, "Error Codes".
type errorBody struct {
	Errors []struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
	// Details is the field of token servers and of Docker Hub's API; token servers after RFC 6749, 5.2, send error and error_description.
	Details     string `json:"details"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

const maxErrorBody = 64 << 10

// storeError matches code and message in the XML errors of S3 and similar stores, and none of the request that they echo.
var storeError = lazyregexp.New(`(?s)<Code>([^<]{1,100})</Code>.*?(?:<Message>([^<]{1,300})</Message>|$)`)

// readBody fills code and message from the body of a failure and closes it. It removes secrets that the body echoes.
func (e *Error) readBody(resp *http.Response, secrets func() []string) {
	defer resp.Body.Close()
	raw, _ := ReadAll(resp, maxErrorBody) // report what could be read
	raw = raw[:min(len(raw), maxErrorBody)]
	clean := func(s string) string { return Clean(s, known(resp.Request, secrets)...) }
	e.readText(raw, resp.Header.Get("Content-Type"), clean)
}

// readText fills code and message from what a body says.
func (e *Error) readText(raw []byte, contentType string, clean func(string) string) {
	text := strings.TrimSpace(string(raw))
	var body errorBody
	var message string
	switch {
	case json.Unmarshal(raw, &body) == nil && len(body.Errors) > 0:
		e.ErrorCode, e.Message = clean(body.Errors[0].Code), clean(body.Errors[0].Message)
	case json.Unmarshal(raw, &body) == nil:
		e.Message = clean(strings.TrimSpace(body.Details + " " + strings.TrimSpace(body.Error+" "+body.Description)))
	case json.Unmarshal(raw, &message) == nil:
		e.Message = clean(message)
	case strings.HasPrefix(text, "<"): // an HTML page, or a store's XML
		if m := storeError().FindStringSubmatch(text); m != nil {
			e.Message = clean(strings.TrimSpace(m[1] + " " + m[2]))
		}
	case !strings.Contains(contentType, "html"):
		e.Message = clean(text)
	}
}

// SaidIn returns what an answer that should not be an error says of one, on one line: a code, a message, or that it is a web page; empty if it says nothing.
func SaidIn(raw []byte, contentType string) string {
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("<")) {
		return "a web page: a proxy or gateway on the way may require a sign-in"
	}
	var e Error
	if raw = raw[:min(len(raw), maxErrorBody)]; json.Valid(raw) {
		e.readText(raw, contentType, func(s string) string { return Clean(s) })
	}
	return strings.TrimSpace(e.ErrorCode + " " + e.Message)
}
