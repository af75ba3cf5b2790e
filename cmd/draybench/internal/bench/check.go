package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/internal/emulator/registry"
)

// accept is every type of manifest.
const accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " +
	"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

// checker looks at a registry after a run, past the proxy.
type checker struct {
	client *http.Client
	url    string

	mu   sync.Mutex
	seen map[string]bool // "repository@digest" that is whole, or is being looked at
}

func newChecker(url string) *checker {
	return &checker{
		url: url, seen: map[string]bool{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
}

// check wants every tag at its digest and, if deep, everything below it. The error is the first thing that is wrong.
func (c *checker) check(ctx context.Context, want map[image]string, deep bool) error {
	defer c.client.CloseIdleConnections()
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(8)
	for at, digest := range want {
		work.Go(func() error {
			if !deep {
				return c.tag(ctx, at, digest)
			}
			body, err := c.get(ctx, http.MethodGet, at.repository, "manifests/"+at.tag)
			if err != nil {
				return err
			}
			if got := registry.Sum(body); got != digest {
				return fmt.Errorf("%s:%s is %s, not %s", at.repository, at.tag, got, digest)
			}
			return c.below(ctx, at.repository, digest, body)
		})
	}
	return work.Wait()
}

// tag asks for no more than a tag's digest.
func (c *checker) tag(ctx context.Context, at image, digest string) error {
	response, err := c.do(ctx, http.MethodHead, at.repository, "manifests/"+at.tag)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if got := response.Header.Get("Docker-Content-Digest"); got != digest {
		return fmt.Errorf("%s:%s is %q, not %s", at.repository, at.tag, got, digest)
	}
	return nil
}

// below checks what a manifest names.
func (c *checker) below(ctx context.Context, repository, digest string, body []byte) error {
	type descriptor struct {
		Digest string `json:"digest"`
		Size   int64  `json:"size"`
	}
	var manifest struct {
		Config    *descriptor  `json:"config"`
		Layers    []descriptor `json:"layers"`
		Manifests []descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(body, &manifest); err != nil {
		return fmt.Errorf("%s@%s: %w", repository, digest, err)
	}
	if manifest.Config != nil {
		manifest.Layers = append(manifest.Layers, *manifest.Config)
	}
	for _, blob := range manifest.Layers {
		if !c.once(repository, blob.Digest) {
			continue
		}
		response, err := c.do(ctx, http.MethodHead, repository, "blobs/"+blob.Digest)
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.ContentLength != blob.Size {
			return fmt.Errorf("%s@%s has %d bytes, not %d", repository, blob.Digest, response.ContentLength, blob.Size)
		}
	}
	for _, child := range manifest.Manifests {
		if !c.once(repository, child.Digest) {
			continue
		}
		body, err := c.get(ctx, http.MethodGet, repository, "manifests/"+child.Digest)
		if err != nil {
			return err
		}
		if got := registry.Sum(body); got != child.Digest {
			return fmt.Errorf("%s@%s has the digest %s", repository, child.Digest, got)
		}
		if err := c.below(ctx, repository, child.Digest, body); err != nil {
			return err
		}
	}
	return nil
}

// once reports whether nobody has looked at a digest in this repository yet.
func (c *checker) once(repository, digest string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := repository + "@" + digest
	if c.seen[key] {
		return false
	}
	c.seen[key] = true
	return true
}

func (c *checker) get(ctx context.Context, method, repository, path string) ([]byte, error) {
	response, err := c.do(ctx, method, repository, path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var body bytes.Buffer
	_, err = io.Copy(&body, response.Body)
	return body.Bytes(), err
}

// do sends a request and wants 200.
func (c *checker) do(ctx context.Context, method, repository, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.url+"/v2/"+repository+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, fmt.Errorf("%s/%s: %s", repository, path, response.Status)
	}
	return response, nil
}
