package receiver

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAgree: a sender of CloudEvents may ask first, without the secret; nobody else learns anything, and nothing is looked at.
func TestAgree(t *testing.T) {
	s := newStand(t, Receiver{Name: "events", Type: "cloudevents", Secret: secret}, Receiver{Name: "hub", Type: "harbor", Secret: secret})
	for _, c := range []struct {
		name, path, origin string
		status             int
	}{
		{"asks", "/hook/events", "eventgrid.azure.net", http.StatusOK},
		{"asks without a name", "/hook/events", "", http.StatusMethodNotAllowed},
		{"asks with a long name", "/hook/events", strings.Repeat("a", 256), http.StatusMethodNotAllowed},
		{"asks another kind", "/hook/hub", "eventgrid.azure.net", http.StatusMethodNotAllowed},
		{"asks nobody", "/hook/none", "eventgrid.azure.net", http.StatusNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, c.path, http.NoBody)
			if c.origin != "" {
				r.Header.Set("WebHook-Request-Origin", c.origin)
			}
			w := httptest.NewRecorder()
			s.set.ServeHTTP(w, r)
			allowed := w.Header().Get("WebHook-Allowed-Origin")
			if w.Code != c.status || (allowed == c.origin && c.origin != "") != (c.status == http.StatusOK) {
				t.Errorf("%d, allowed: %q", w.Code, allowed)
			}
		})
	}
	if len(s.looked)+len(s.counted) > 0 {
		t.Errorf("looked at %q, counted %v", s.looked, s.counted)
	}
}
