package layout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/draysync/dray/internal/image"
)

// partsError names what a manifest refers to that the layout lacks.
type partsError struct{ manifest, part image.Digest }

func (e *partsError) Error() string {
	return fmt.Sprintf("manifest %s refers to %s, which is not there", e.manifest, e.part)
}

// Code returns the OCI distribution spec's code for this, as a stable code.
func (e *partsError) Code() string { return "manifest-blob-unknown" }

// part is a descriptor in a manifest.
type part struct {
	MediaType string       `json:"mediaType"`
	Digest    image.Digest `json:"digest"`
	Size      int64        `json:"size"`
	URLs      []string     `json:"urls"`
}

// isBlob reports whether an entry of an index is a blob, by its media type or, if that is unspecific, by its content. Whatever parses as a
// manifest is one, so that nothing below it counts as unused.
func (p part) isBlob(read func(image.Digest) ([]byte, error)) bool {
	switch image.KindOf(p.MediaType) {
	case image.Manifests:
		return false
	case image.Blobs:
		return true
	case image.LikelyManifests, image.LikelyBlobs:
	}
	if p.Digest.Validate() != nil {
		return false
	}
	raw, err := read(p.Digest)
	var doc struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	return err != nil || json.Unmarshal(raw, &doc) != nil || doc.SchemaVersion == 0
}

// manifestsOf reads manifests of a layout, at most MaxManifest bytes each.
func manifestsOf(dir string) func(image.Digest) ([]byte, error) {
	return func(d image.Digest) ([]byte, error) { return readBounded(blobPath(dir, d)) }
}

// parts are the descriptors of a manifest.
type parts struct {
	Config    part   `json:"config"`
	Layers    []part `json:"layers"`
	Blobs     []part `json:"blobs"` // of an OCI artifact manifest
	Manifests []part `json:"manifests"`
}

// blobs returns the descriptors that are not manifests; an index has none.
func (p parts) blobs() []part {
	all := slices.Concat([]part{p.Config}, p.Layers, p.Blobs)
	return slices.DeleteFunc(all, func(b part) bool { return b.Digest == "" })
}

// checkParts checks that everything that a manifest refers to is there and intact. Layers with URLs may be elsewhere, and a subject may be
// missing, as always.
func (s *Store) checkParts(ctx context.Context, repo image.Repository, m image.Manifest) error {
	var doc parts
	if err := json.Unmarshal(m.Raw, &doc); err != nil {
		return fmt.Errorf("manifest %s: %w", m.Digest, err)
	}
	for _, p := range slices.Concat(doc.blobs(), doc.Manifests) {
		if p.Digest == "" || len(p.URLs) > 0 {
			continue
		}
		has, err := s.HasBlob(ctx, repo, image.Descriptor{Digest: p.Digest, Size: p.Size})
		if err != nil {
			return fmt.Errorf("manifest %s: %w", m.Digest, err)
		}
		if !has {
			return &partsError{m.Digest, p.Digest}
		}
	}
	return nil
}

// Part is what a manifest refers to, its subject aside.
type Part struct {
	image.Descriptor
	// Manifest is set for a manifest or an index, which has parts itself.
	Manifest bool
	// Elsewhere is set for a layer with URLs, which a layout need not have.
	Elsewhere bool
}

// PartsOf returns the parts of a manifest, in its order. read returns the content of a manifest; it is asked for an entry of an index whose
// media type does not say what it is.
func PartsOf(raw []byte, read func(image.Digest) ([]byte, error)) ([]Part, error) {
	var doc parts
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	var all []Part
	for _, m := range doc.Manifests {
		all = append(all, Part{Descriptor: m.descriptor(), Manifest: !m.isBlob(read), Elsewhere: len(m.URLs) > 0})
	}
	for _, b := range doc.blobs() {
		all = append(all, Part{Descriptor: b.descriptor(), Elsewhere: len(b.URLs) > 0})
	}
	for _, p := range all {
		if err := p.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("%q: %w", p.Digest, err)
		}
	}
	return all, nil
}

func (p part) descriptor() image.Descriptor {
	return image.Descriptor{MediaType: p.MediaType, Digest: p.Digest, Size: p.Size}
}
