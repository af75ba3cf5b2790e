package switching

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestRefused has a server that switches, and then says nothing: the connection ends, and nobody reads from it.
func TestRefused(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/plain" {
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"); err != nil {
			t.Error(err)
		}
		_, _ = conn.Read(make([]byte, 1)) // until the client closes it
		close(ended)
	}))
	defer server.Close()
	ask := func(path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := Refused(http.DefaultTransport.RoundTrip(req))
		if err == nil {
			defer resp.Body.Close()
		}
		return resp, err
	}
	if resp, err := ask("/plain"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("plain: %v, %v", resp, err)
	}
	if _, err := ask("/"); !errors.Is(err, ErrSwitched) {
		t.Errorf("switched: %v", err)
	}
	<-ended
	server.Close()
	if _, err := ask("/"); err == nil || errors.Is(err, ErrSwitched) {
		t.Errorf("no server: %v", err)
	}
}
