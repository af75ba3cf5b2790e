package acr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/draysync/dray/internal/azure"
	"github.com/draysync/dray/internal/backoff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// grace returns the pauses between reads of the target, which may lag if its registry has several regions.
func grace() []time.Duration {
	return []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second}
}

// verify checks that the tags have the manifest's digest, and that the manifest and its children exist. It returns the digest.
func (t *acrImport) verify(ctx context.Context, members []mirror.Alike) (digest image.Digest, err error) {
	for _, pause := range grace() {
		if waitErr := backoff.Sleep(ctx, pause); waitErr != nil {
			return "", waitErr
		}
		if digest, err = t.look(ctx, members); err == nil || !repairable(err) {
			return digest, err
		}
	}
	return "", err
}

// repairable reports whether another import can help.
func repairable(err error) bool {
	f, ok := errors.AsType[*failed](err)
	return ok && f.Kind == azure.CodeVerifyFailed
}

// look verifies once.
func (t *acrImport) look(ctx context.Context, members []mirror.Alike) (image.Digest, error) {
	want := t.order.Digest
	for _, m := range members {
		d, err := t.options.Plane.Head(ctx, m.Target)
		switch {
		case isAbsent(err):
			return "", t.notThere(m.Target, "it does not exist")
		case err != nil:
			return "", mirror.At(mirror.Target, m.Target, err)
		case want == "":
			want = d.Digest
		case d.Digest != want:
			return "", t.notThere(m.Target, fmt.Sprintf("it has %s, but %s was imported", d.Digest, want))
		}
	}
	return want, t.whole(ctx, members[0].Target.Repository, want)
}

// whole checks that a manifest and its children exist. The registry is responsible for blobs.
func (t *acrImport) whole(ctx context.Context, repo image.Repository, d image.Digest) error {
	ref := repo.Digest(d)
	m, err := t.options.Plane.Manifest(ctx, ref)
	if isAbsent(err) {
		return t.notThere(ref, "the tag exists, but its manifest does not")
	}
	if err != nil {
		return mirror.At(mirror.Target, ref, err)
	}
	if !image.IsIndex(m.MediaType) {
		return nil
	}
	children, err := manifestsOf(m)
	if err != nil {
		return mirror.At(mirror.Target, ref, err)
	}
	var group errgroup.Group
	group.SetLimit(8)
	for _, child := range children {
		group.Go(func() error {
			_, err := t.options.Plane.Head(ctx, repo.Digest(child))
			if isAbsent(err) {
				return t.notThere(repo.Digest(child), "the index exists, but this manifest of it does not")
			}
			return mirror.At(mirror.Target, repo.Digest(child), err)
		})
	}
	return group.Wait()
}

func (t *acrImport) notThere(ref image.Reference, detail string) error {
	return mirror.At(mirror.Target, ref, &failed{Failure: azure.NewFailure(azure.CodeVerifyFailed, detail)})
}

// manifestsOf returns the digests of the manifests in an index. Entries of other kinds are blobs, or may be.
func manifestsOf(m image.Manifest) ([]image.Digest, error) {
	var index struct {
		Manifests []struct {
			MediaType string       `json:"mediaType"`
			Digest    image.Digest `json:"digest"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(m.Raw, &index); err != nil {
		return nil, fmt.Errorf("manifest %s is not a JSON document: %w", m.Digest, err)
	}
	digests := make([]image.Digest, 0, len(index.Manifests))
	for _, entry := range index.Manifests {
		if err := entry.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("manifest %s: digest %q: %w", m.Digest, entry.Digest, err)
		}
		if image.KindOf(entry.MediaType) == image.Manifests {
			digests = append(digests, entry.Digest)
		}
	}
	return digests, nil
}
