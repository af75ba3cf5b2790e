package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/auth"
	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// The hosts of the tests are addresses for documentation (RFC 5737).
const (
	home  = "192.0.2.1"
	other = "192.0.2.2"
)

// inBubble runs f in a bubble of fake time.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// client returns a client that reaches nothing but the network.
func client(t *testing.T, network http.RoundTripper, options Options) *Client {
	t.Helper()
	options.Wrap = func(string, http.RoundTripper) http.RoundTripper { return network }
	c, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// stand is one emulated registry at home and a client for it.
func stand(t *testing.T, behaviour emulator.Options, options Options) (*emulator.Registry, *Client) {
	t.Helper()
	r := emulator.New(behaviour)
	return r, client(t, emulator.Network{home: r}, options)
}

// oneAtATime has home take one request of a kind at a time.
var oneAtATime = map[string]Host{home: {Concurrency: 1}}

// signed is a keychain with a password for one registry.
func signed(host, user, password string) auth.Keychain {
	return auth.Keychain{Named: map[string]auth.Source{host: auth.Static(auth.Credential{Username: user, Password: password})}}
}

// as is a keychain with a credential for home.
func as(c auth.Credential) auth.Keychain {
	return auth.Keychain{Named: map[string]auth.Source{home: auth.Static(c)}}
}

func at(path string) image.Repository { return image.Repository{Registry: home, Path: path} }

// push puts a small image into the registry.
func push(t *testing.T, r *emulator.Registry, repository, tag string) emulator.Image {
	t.Helper()
	i := emulator.MultiArch(1, emulator.ImageOptions{})
	if err := i.Push(r, repository, tag); err != nil {
		t.Fatal(err)
	}
	return i
}

// content is the descriptor of data.
func content(data []byte) image.Descriptor {
	return image.Descriptor{MediaType: "application/octet-stream", Digest: image.Digest(emulator.Sum(data)), Size: int64(len(data))}
}

// source returns what PutBlob opens, and counts how often it does.
func source(data []byte, opened *int) func(int64) (io.ReadCloser, error) {
	return func(offset int64) (io.ReadCloser, error) {
		*opened++
		return io.NopCloser(bytes.NewReader(data[offset:])), nil
	}
}

// lines writes the requests of a gate as "METHOD kind status", one after the other.
func lines(g *emulator.Gate) []string {
	lines := []string{}
	for _, r := range g.Requests() {
		lines = append(lines, fmt.Sprintf("%s %s %d", r.Method, r.Kind, r.Status))
	}
	return lines
}

// kind counts the requests of one method and one kind; an empty method is any.
func kind(g *emulator.Gate, method, kind string) int {
	return g.Count(func(r emulator.Request) bool { return (method == "" || r.Method == method) && r.Kind == kind })
}

// failure returns the *Error in err.
func failure(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error = %v (%T), want a *registry.Error", err, err)
	}
	return e
}

// contains checks that a text has all parts.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
}

// lacks checks that a text has none of the parts.
func lacks(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Errorf("%q has %q", text, part)
		}
	}
}

// requests matches requests by method and kind.
func requests(method, kind string) func(*http.Request) bool { return emulator.MatchKind(method, kind) }

// elapsed returns how much time f takes.
func elapsed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// answer is a registry that always says the same.
func answer(status int, header http.Header, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// everything keeps all names.
func everything(string) bool { return true }
