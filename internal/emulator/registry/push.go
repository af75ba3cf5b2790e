package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Push puts the image into an emulated registry, without a request in its log.
func (i Image) Push(to *Registry, repository, tag string) error {
	for _, b := range i.Blobs {
		to.content.putBlob(repository, b.Digest, b.Data)
	}
	for n, m := range i.Manifests {
		reference := m.Digest
		if n == len(i.Manifests)-1 {
			reference = tag
		}
		if _, err := to.PutManifest(repository, reference, m.MediaType, m.Body); err != nil {
			return err
		}
	}
	return nil
}

// PushTo pushes the image over HTTP to any registry, such as a Process; baseURL is like "http://127.0.0.1:5000". Blobs
// that are there already are not sent again. Credentials are the client's business; nil is http.DefaultClient.
func (i Image) PushTo(ctx context.Context, client *http.Client, baseURL, repository, tag string) error {
	p := pusher{client: client, base: baseURL + "/v2/" + repository}
	if client == nil {
		p.client = http.DefaultClient
	}
	for _, b := range i.Blobs {
		if err := p.blob(ctx, b); err != nil {
			return fmt.Errorf("push blob %s of %s:%s: %w", b.Digest, repository, tag, err)
		}
	}
	for n, m := range i.Manifests {
		reference := m.Digest
		if n == len(i.Manifests)-1 {
			reference = tag
		}
		address := p.base + "/manifests/" + reference
		if _, err := p.do(ctx, http.MethodPut, address, m.MediaType, m.Body, http.StatusCreated); err != nil {
			return fmt.Errorf("push manifest %s of %s:%s: %w", m.Digest, repository, tag, err)
		}
	}
	return nil
}

// pusher pushes into one repository.
type pusher struct {
	client *http.Client
	base   string // URL of the repository, without a slash at the end
}

func (p pusher) blob(ctx context.Context, b Blob) error {
	// docker-registry answers 500 while another push puts the same blob in its place: sending it again does no harm.
	head, err := p.do(ctx, http.MethodHead, p.base+"/blobs/"+b.Digest, "", nil, http.StatusOK, http.StatusNotFound, http.StatusInternalServerError)
	if err != nil || head.StatusCode == http.StatusOK {
		return err
	}
	start, err := p.do(ctx, http.MethodPost, p.base+"/blobs/uploads/", "", nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	location, err := start.Location()
	if err != nil {
		return err
	}
	query := location.Query()
	query.Set("digest", b.Digest)
	location.RawQuery = query.Encode()
	_, err = p.do(ctx, http.MethodPut, location.String(), "application/octet-stream", b.Data, http.StatusCreated)
	return err
}

// do sends a request, reads the answer to its end, and wants one of the statuses.
func (p pusher) do(
	ctx context.Context, method, address, mediaType string, body []byte, statuses ...int,
) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	response, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	for _, status := range statuses {
		if response.StatusCode == status {
			return response, nil
		}
	}
	at := url.URL{Path: req.URL.Path}
	return nil, fmt.Errorf("%s %s: %s: %s", method, at.String(), response.Status, answer)
}
