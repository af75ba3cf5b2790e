package registry

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"sync"
)

// Corpus describes many images that share layers, the same for the same values.
type Corpus struct {
	// Seed sets two corpora apart that are otherwise equal.
	Seed int64
	// Prefix is before the repositories' names, which are app-00, app-01, …; "" is "library/".
	Prefix string
	// Repositories is how many there are; 0 is one.
	Repositories int
	// Tags is how many each has, 1.0.0, 1.1.0, 1.2.0, …; 0 is one. No two have the same digest.
	Tags int
	// SharedLayers are below every image of the corpus.
	SharedLayers int
	// Image shapes each image. Its Base goes below the shared layers.
	Image ImageOptions
}

// Tagged is one image of a corpus.
type Tagged struct {
	Repository, Tag string
	Image           Image
}

// Images makes the images one by one; only the shared layers stay in memory between them.
func (c Corpus) Images() iter.Seq[Tagged] {
	return func(yield func(Tagged) bool) {
		options := c.Image
		size := options.LayerSize
		if size == 0 {
			size = 1024
		}
		for n := range c.SharedLayers {
			options.Base = append(options.Base[:len(options.Base):len(options.Base)], NewLayer(-1_000_000*(c.Seed+1)-int64(n), size))
		}
		prefix := c.Prefix
		if prefix == "" {
			prefix = "library/"
		}
		tags := max(1, c.Tags)
		for r := range max(1, c.Repositories) {
			for t := range tags {
				seed := c.Seed*1_000_000 + int64(r*tags+t)
				image := Tagged{
					Repository: fmt.Sprintf("%sapp-%02d", prefix, r),
					Tag:        fmt.Sprintf("1.%d.0", t),
					Image:      MultiArch(seed, options),
				}
				if !yield(image) {
					return
				}
			}
		}
	}
}

// Fill puts the corpus into the registry, without requests, and returns the digest of every "repository:tag".
func (r *Registry) Fill(corpus Corpus) (map[string]string, error) {
	digests := map[string]string{}
	for image := range corpus.Images() {
		if err := image.Image.Push(r, image.Repository, image.Tag); err != nil {
			return nil, err
		}
		digests[image.Repository+":"+image.Tag] = image.Image.Digest
	}
	return digests, nil
}

// PushTo pushes the corpus over HTTP, several images at a time, and returns the digest of every "repository:tag". See
// Image.PushTo for the arguments; a nil client is one that keeps a connection for each of those images.
func (c Corpus) PushTo(ctx context.Context, client *http.Client, baseURL string) (map[string]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	images := make(chan Tagged)
	errs := make(chan error, 8)
	if client == nil {
		transport := &http.Transport{MaxIdleConnsPerHost: cap(errs)}
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport}
	}
	var workers sync.WaitGroup
	for range cap(errs) {
		workers.Go(func() {
			for image := range images {
				if err := image.Image.PushTo(ctx, client, baseURL, image.Repository, image.Tag); err != nil {
					errs <- err
					cancel()
					return
				}
			}
		})
	}
	digests := map[string]string{}
	for image := range c.Images() {
		select {
		case images <- image:
			digests[image.Repository+":"+image.Tag] = image.Image.Digest
			continue
		case <-ctx.Done():
		}
		break
	}
	close(images)
	workers.Wait()
	close(errs)
	if first := <-errs; first != nil { // the others are its consequence
		return nil, first
	}
	return digests, ctx.Err()
}
