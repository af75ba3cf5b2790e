package auth

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/draysync/dray/internal/wire"
)

// roundTrip is a function that sends a request.
type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// said is an answer.
func said(req *http.Request, status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req}
}

// clientOf returns a client that sends by a function.
func clientOf(t *testing.T, send roundTrip, source func(context.Context) (Credential, time.Time, error), locks bool) *Client {
	t.Helper()
	carrier, err := wire.New(wire.Options{
		Name: ours, API: ours, Start: 16, Most: 16, Retries: wire.Retries{Attempts: 2, First: time.Millisecond}, Log: slog.New(slog.DiscardHandler),
		Wrap: func(string, http.RoundTripper) http.RoundTripper { return send },
	})
	if err != nil {
		t.Fatal(err)
	}
	return New(carrier, source, locks, slog.New(slog.DiscardHandler))
}

// look sends one HEAD for a tag of a repository.
func look(t *testing.T, c *Client, repository string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "https://"+ours+"/v2/"+repository+"/manifests/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req, wire.Call{Operation: "HEAD manifest"}, Pull(repository))
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

// challenged is the answer of a registry that wants a token of a realm.
func challenged(req *http.Request, realm string) *http.Response {
	return said(req, http.StatusUnauthorized, http.Header{"Www-Authenticate": {`Bearer realm="` + realm + `",service="s"`}}, "")
}

// TestCredentialThatChangesMeanwhile: a credential is replaced while others ask the token server, which refuses for their number.
func TestCredentialThatChangesMeanwhile(t *testing.T) {
	var n atomic.Int64
	source := func(context.Context) (Credential, time.Time, error) {
		return Credential{Username: "ann", Password: fmt.Sprint("password", n.Add(1))}, time.Now(), nil
	}
	c := clientOf(t, func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/token" {
			return said(req, http.StatusTooManyRequests, nil, ""), nil
		}
		return challenged(req, "https://"+ours+"/token"), nil
	}, source, true)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 5 {
				if look(t, c, fmt.Sprint("app", i)) == nil {
					t.Error("no error")
				}
			}
		})
	}
	group.Wait()
}
