package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestClientChanges(t *testing.T) {
	jobs := []string{"library/alpine", `"a" b`, "größe", "50%", "x/sync", "a//../b", "?#"}
	daemon := &fake{jobs: jobs}
	daemon.reload = func(context.Context) error { return nil }
	address := start(t, Options{Daemon: daemon, Token: token})
	client := NewClient(address, token)
	defer client.Close()
	for _, job := range jobs {
		before := time.Now().Truncate(time.Millisecond)
		if asked, err := client.Sync(t.Context(), job); err != nil || asked.Before(before) || asked.After(time.Now()) {
			t.Errorf("%q: asked at %v, %v", job, asked, err)
		}
	}
	if d := cmp.Diff(jobs, daemon.synced); d != "" {
		t.Error(d)
	}
	_, err := client.Sync(t.Context(), "alpine")
	unknown, ok := errors.AsType[*UnknownJobError](err)
	if want := (&UnknownJobError{Job: "alpine", Nearest: []string{"library/alpine"}}); !ok || cmp.Diff(want, unknown) != "" {
		t.Errorf("got %v", unknown)
	}
	if err := client.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	daemon.reload = func(context.Context) error { return errors.New("dray.yaml:1:1: a\ndray.yaml:2:1: b") }
	rejected, ok := errors.AsType[*RejectedError](client.Reload(t.Context()))
	if want := (&RejectedError{Lines: []string{"dray.yaml:1:1: a", "dray.yaml:2:1: b"}}); !ok || cmp.Diff(want, rejected) != "" {
		t.Errorf("got %v", rejected)
	}
	if _, err := client.Sync(t.Context(), "x/sync", "v1", "a/b:v 2&tag=v3"); err != nil || !slices.Equal(daemon.tags, []string{"v1", "a/b:v 2&tag=v3"}) {
		t.Errorf("got %q, %v", daemon.tags, err)
	}
	if _, err := client.Sync(t.Context(), "x/sync", "v9"); err == nil || !strings.Contains(err.Error(), "422: nothing was asked for: the mapping does not choose v9") {
		t.Errorf("got %v", err)
	}
	if _, err := client.Sync(t.Context(), "stopping"); err == nil || !strings.Contains(err.Error(), "503: the daemon cannot do that now") {
		t.Errorf("got %v", err)
	}
	stranger := NewClient(address, "")
	defer stranger.Close()
	if err := stranger.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "401: a token is needed") {
		t.Errorf("got %v", err)
	}
}

func TestClientWithoutDaemon(t *testing.T) {
	for _, address := range []string{"127.0.0.1:1", "unix:/nowhere/dray.sock"} {
		_, err := NewClient(address, "").Status(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), "no daemon answers at "+address+": start it with dray run") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := NewClient("127.0.0.1:x\n", "").Status(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "ask the daemon") {
		t.Errorf("got %v", err)
	}
}

func TestClientOfSomethingElse(t *testing.T) {
	tests := map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		want   string
	}{
		"a page":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "is not dray: invalid character"},
		"other JSON": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, "is not dray"},
		"not found":  {http.NotFound, "is not dray: it says 404 Not Found"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example/", http.StatusFound)
		}, "it says 302 Found"},
		"newer":         {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"version":2}`) }, "is newer than this program"},
		"a large error": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); flood(w, maxRefusal) }, "larger than 1 MB"},
		"a short answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = io.WriteString(w, "{")
		}, "unexpected EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(test.answer))
			defer server.Close()
			client := NewClient(server.Listener.Addr().String(), token)
			defer client.Close()
			_, err := client.Status(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), token) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func flood(w io.Writer, bytes int) {
	for range bytes/1024 + 1 {
		_, _ = w.Write(make([]byte, 1024))
	}
}

func TestReachable(t *testing.T) {
	for address, want := range map[string]string{
		":8484": "127.0.0.1:8484", "0.0.0.0:8484": "127.0.0.1:8484", "[::]:8484": "[::1]:8484", "[::1]:8484": "[::1]:8484",
		"127.0.0.1:8484": "127.0.0.1:8484", "dray.corp.example:8484": "dray.corp.example:8484", "nonsense": "nonsense",
	} {
		if got := reachable(address); got != want {
			t.Errorf("%s is asked at %s, want %s", address, got, want)
		}
	}
}
