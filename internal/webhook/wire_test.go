package webhook

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWire goes over real connections: no redirect is followed, no more than needed is read of an answer, and the user of a
// URL signs in.
func TestWire(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	var paths []string
	mux := http.NewServeMux()
	mux.HandleFunc("POST /redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusPermanentRedirect)
	})
	mux.HandleFunc("POST /endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("POST /in", func(_ http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		paths = append(paths, user+" "+password+" "+r.RequestURI)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	said := &logged{}
	s, err := New(Options{Log: said.logger(), Hooks: []Hook{
		{URL: server.URL + "/redirect"}, {URL: server.URL + "/endless"}, {URL: "http://me:" + token + "@" + host + "/in?key=" + token},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range []string{"a", "b", "c"} {
		s.Send(failed(job))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	in := "me " + token + " /in?key=" + token
	if diff := cmp.Diff([]string{in, in, in}, paths); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Stat{{Host: host, Sent: 6, Failed: 3}}, s.Stats()); diff != "" {
		t.Error(diff)
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
	if strings.Contains(said.String(), token) {
		t.Errorf("the log says the token: %s", said)
	}
}

// TestConnection is used again, also where the answer has a body.
func TestConnection(t *testing.T) {
	connections := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections[r.RemoteAddr]++
		_, _ = w.Write(make([]byte, 3000))
	}))
	defer server.Close()
	s, err := New(Options{Hooks: []Hook{{URL: server.URL}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range []string{"a", "b", "c"} {
		s.Send(failed(job))
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(connections) != 1 {
		t.Errorf("connections: %v", connections)
	}
}

// TestNobodyListens has the transport's own errors, which must not say more than the host.
func TestNobodyListens(t *testing.T) {
	const address = "http://127.0.0.1:1"
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	for name, test := range map[string]struct{ url, want string }{
		"refused":   {address + "/" + token, "connection refused"},
		"not TLS":   {strings.Replace(tls.URL, "https:", "http:", 1) + "/" + token, "400 Bad Request"},
		"not known": {tls.URL + "/" + token, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			said := &logged{wrote: make(chan struct{}, 1)}
			s, err := New(Options{Log: said.logger(), Hooks: []Hook{{URL: test.url}}})
			if err != nil {
				t.Fatal(err)
			}
			s.Send(failed("a"))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for !strings.Contains(said.String(), test.want) && ctx.Err() == nil {
				select {
				case <-said.wrote:
				case <-ctx.Done():
				}
			}
			cancel()
			_ = s.Close(ctx)
			if text := said.String(); strings.Contains(text, token) || !strings.Contains(text, test.want) || !strings.Contains(text, "127.0.0.1") {
				t.Errorf("the log says %s", text)
			}
		})
	}
}

func TestRedacted(t *testing.T) {
	hook, err := compile([]Hook{{URL: "https://me:" + token + "@hooks.example/a%20" + token + "?key=" + token}})
	if err != nil {
		t.Fatal(err)
	}
	plain := errors.New("connection reset")
	if got := hook[0].redacted(plain); !errors.Is(got, plain) {
		t.Errorf("got another error: %v", got)
	}
	if got := hook[0].redacted(errors.New("malformed \x1b[2J" + strings.Repeat(hook[0].url.Path, 1000))).Error(); len(got) > 4*maxText || strings.ContainsRune(got, 0x1b) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	for _, text := range []string{hook[0].url.String(), hook[0].url.RequestURI(), hook[0].url.Path, hook[0].url.RawQuery, token} {
		if got := hook[0].redacted(errors.New("dial " + text + ": no")); strings.Contains(got.Error(), token) {
			t.Errorf("got %v", got)
		}
	}
}
