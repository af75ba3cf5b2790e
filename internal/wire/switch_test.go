package wire

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/draysync/dray/internal/switching"
)

type tripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestProtocolIsNotSwitched: an answer of which only Close ends the reading is refused at once, whether or not somebody reads it.
func TestProtocolIsNotSwitched(t *testing.T) {
	for name, read := range map[string]func(*http.Response) error{
		"read": func(resp *http.Response) error { _, err := io.Copy(io.Discard, resp.Body); return err },
		"left": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				transport, err := New(Options{API: "registry.example", Name: "registry.example", Start: 1, Most: 1, Log: slog.New(slog.DiscardHandler), Wrap: func(string, http.RoundTripper) http.RoundTripper {
					return tripper(func(r *http.Request) (*http.Response, error) {
						asked++
						body, _ := io.Pipe()
						return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: http.Header{}, Body: body, Request: r}, nil
					})
				}})
				if err != nil {
					t.Fatal(err)
				}
				defer transport.CloseIdleConnections()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://registry.example/v2/", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.Do(req, Call{Operation: "GET manifest", Read: read})
				if err == nil {
					_ = resp.Body.Close()
				}
				if !errors.Is(err, switching.ErrSwitched) || asked != 1 {
					t.Errorf("%d requests: %v", asked, err)
				}
			})
		})
	}
}
