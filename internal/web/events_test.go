package web

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/record"
)

// Events come from other hosts under any name, and are the receiver's to judge: with their body, and without the server's token.
func TestEvents(t *testing.T) {
	var got []string
	events := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, r.URL.Path+" "+string(body[:3]))
		w.WriteHeader(http.StatusAccepted)
	})
	s := New(Options{Daemon: well(), Events: events, Address: "127.0.0.1:8484", Token: token, Log: quiet()})
	send := func(s *Server, method, path string) int {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(strings.Repeat("x", 3*maxBody)))
		r.Host = "hooks.example.com"
		r.Header.Set("Origin", "https://elsewhere.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	if status := send(s, http.MethodPost, "/hook/hub/key"); status != http.StatusAccepted || len(got) != 1 || got[0] != "/hook/hub/key xxx" {
		t.Errorf("%d, received %q", status, got)
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, "POS"} {
		if status := send(s, method, "/hook/hub"); status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, status)
		}
	}
	if status := send(s, http.MethodPost, "/hook"); status == http.StatusAccepted {
		t.Error("another path was taken")
	}
	if status := send(New(Options{Daemon: well(), Log: quiet()}), http.MethodPost, "/hook/hub"); status == http.StatusAccepted {
		t.Error("without receivers something was taken")
	}
	if len(got) != 1 {
		t.Errorf("received %q", got)
	}
}

// The path that proves a sender is shown to those only who may change something.
func TestKeysAreShownToFew(t *testing.T) {
	const key = "5d0c1a2b"
	daemon := &fake{status: func(context.Context) (record.Snapshot, error) {
		return record.Snapshot{Receivers: []record.Receiver{{Name: "hub", Path: "/hook/hub/" + key, Keyed: true}, {Name: "gh", Path: "/hook/gh"}}}, nil
	}}
	loopback, network := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}
	for _, c := range []struct {
		name         string
		listener     net.Addr
		token, shown string
		want         bool
	}{
		{"this machine", loopback, "", "", true},
		{"this machine, without the token that there is", loopback, token, "", false},
		{"this machine, with the token", loopback, token, token, true},
		{"the network", network, "", "", false},
		{"the network, with the token", network, token, token, true},
		{"the network, with another", network, token, token + "x", false},
		{"a socket", &net.UnixAddr{}, "", "", true},
	} {
		s := New(Options{Daemon: daemon, Token: c.token, Log: quiet()})
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), policyKey{}, policyOf(c.listener, "")), http.MethodGet, "/api/v1/status", nil)
		r.Host = "127.0.0.1"
		if c.shown != "" {
			r.Header.Set("Authorization", "Bearer "+c.shown)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		text := w.Body.String()
		if strings.Contains(text, key) != c.want || !strings.Contains(text, `"/hook/gh"`) || !c.want && !strings.Contains(text, `"/hook/hub/…"`) {
			t.Errorf("%s: %s", c.name, text)
		}
	}
	if s := full(); len(s.Receivers) == 0 {
		t.Error("the full status has no receivers")
	}
}
