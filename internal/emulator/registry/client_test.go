package registry_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
)

// answer is what a test looks at of a response.
type answer struct {
	Status int
	Code   string // of the first error in the body
	Body   string
	Header http.Header
}

// caller sends requests to one registry.
type caller struct {
	tb     testing.TB
	client *http.Client
	url    string
}

// inMemory calls a gate without a socket.
func inMemory(tb testing.TB, r *registry.Registry) caller {
	return caller{tb: tb, client: &http.Client{Transport: r.Transport()}, url: "http://registry.test"}
}

// do sends a request with headers given as name, value, name, value.
func (c caller) do(method, path, body string, headers ...string) answer {
	c.tb.Helper()
	if !strings.HasPrefix(path, "http") {
		path = c.url + path
	}
	req, err := http.NewRequestWithContext(c.tb.Context(), method, path, strings.NewReader(body))
	if err != nil {
		c.tb.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	response, err := c.client.Do(req)
	if err != nil {
		c.tb.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		c.tb.Fatal(err)
	}
	var document struct {
		Errors []struct{ Code string }
	}
	a := answer{Status: response.StatusCode, Body: string(data), Header: response.Header}
	if json.Unmarshal(data, &document) == nil && len(document.Errors) > 0 {
		a.Code = document.Errors[0].Code
	}
	return a
}

// upload sends a blob as POST and PUT, and returns the answer to the PUT.
func (c caller) upload(repository, data, digest string) answer {
	c.tb.Helper()
	start := c.do(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "")
	if start.Status != http.StatusAccepted {
		return start
	}
	return c.do(http.MethodPut, start.Header.Get("Location")+"&digest="+digest, data, "Content-Type", "application/octet-stream")
}

func mustPush(tb testing.TB, r *registry.Registry, repository, tag string, image registry.Image) registry.Image {
	tb.Helper()
	if err := image.Push(r, repository, tag); err != nil {
		tb.Fatal(err)
	}
	return image
}

// pages follows Link from path to the last page, and returns the list under key of each.
func (c caller) pages(path, key string) [][]string {
	c.tb.Helper()
	var pages [][]string
	for path != "" {
		a := c.do(http.MethodGet, path, "")
		document := map[string]any{}
		if err := json.Unmarshal([]byte(a.Body), &document); err != nil {
			c.tb.Fatal(err)
		}
		page := []string{}
		for _, item := range document[key].([]any) {
			page = append(page, item.(string))
		}
		pages = append(pages, page)
		link, _, _ := strings.Cut(a.Header.Get("Link"), ">")
		path = strings.TrimPrefix(link, "<")
	}
	return pages
}

// digests are those listed in the index at path.
func (c caller) digests(path string) []string {
	c.tb.Helper()
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal([]byte(c.do(http.MethodGet, path, "").Body), &index); err != nil {
		c.tb.Fatal(err)
	}
	digests := []string{}
	for _, m := range index.Manifests {
		digests = append(digests, m.Digest)
	}
	return digests
}

// trusting returns a client that knows one authority.
func trusting(tb testing.TB, ca []byte) *http.Client {
	tb.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		tb.Fatal("no PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
