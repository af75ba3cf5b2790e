package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/draysync/dray/internal/record"
)

const (
	typeJSON = "application/json"
	typeText = "text/plain; charset=utf-8"
	typeHTML = "text/html; charset=utf-8"
)

// protect sets what tells a browser to do nothing with an answer but show it to who asked.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// failure is the document of an answer that is an error.
type failure struct {
	Error string `json:"error"`
	// Nearest are the names of jobs that may have been meant.
	Nearest []string `json:"nearest,omitempty"`
}

func refuse(w http.ResponseWriter, status int, text string) { answer(w, status, failure{Error: text}) }

// answer sends one small document. That a client is gone is no concern of the daemon's.
func answer(w http.ResponseWriter, status int, document any) {
	var b bytes.Buffer
	if err := encoder(&b).Encode(document); err != nil {
		status = http.StatusInternalServerError
		b.Reset()
		fmt.Fprintln(&b, `{"error":"the answer cannot be written as JSON"}`)
	}
	send(w, status, typeJSON, b.Bytes())
}

func send(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

func encoder(w interface{ Write([]byte) (int, error) }) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// fail answers with why the daemon could not.
func fail(w http.ResponseWriter, err error) {
	status := statusOf(err)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the daemon has no answer in time: %w", err)
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	refuse(w, status, err.Error())
}

// statusOf returns the status of the answer to what the daemon could not do.
func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrUnchosen):
		return http.StatusUnprocessableEntity
	case errors.Is(err, ErrStale):
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

// stream sends a document whose last key is "jobs", one job a line: the whole is never in memory. The head is the document without them.
func stream(w http.ResponseWriter, head any, jobs []record.JobStatus) {
	var text bytes.Buffer
	if err := encoder(&text).Encode(head); err != nil {
		fail(w, fmt.Errorf("write the answer as JSON: %w", err))
		return
	}
	w.Header().Set("Content-Type", typeJSON)
	out := bufio.NewWriterSize(w, 32<<10)
	_, _ = out.Write(bytes.TrimSuffix(text.Bytes(), []byte("]}\n"))) // errors stay with the writer
	e := encoder(out)
	for i := range jobs {
		separator := byte(',')
		if i == 0 {
			separator = '\n'
		}
		_ = out.WriteByte(separator)
		if e.Encode(&jobs[i]) != nil {
			return // the client is gone, or what it got is cut off: no valid JSON either way
		}
	}
	_, _ = out.WriteString("]}\n")
	_ = out.Flush()
}
