package layout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/draysync/dray/internal/image"
)

// partsError says what a manifest refers to that the layout does not have.
type partsError struct{ manifest, part image.Digest }

func (e *partsError) Error() string {
	return fmt.Sprintf("manifest %s refers to %s, which is not there", e.manifest, e.part)
}

// Code is the one of the OCI distribution spec for this, as a stable code.
func (e *partsError) Code() string { return "manifest-blob-unknown" }

// part is a descriptor in a manifest.
type part struct {
	MediaType string       `json:"mediaType"`
	Digest    image.Digest `json:"digest"`
	Size      int64        `json:"size"`
	URLs      []string     `json:"urls"`
}

// isBlob tells whether an entry of an index is a blob: by its media type or, where that does not tell, by what it holds. What can be read
// as a manifest is one, so that nothing that it leads to passes for needless.
func (p part) isBlob(dir string) bool {
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
	raw, err := readBounded(blobPath(dir, p.Digest), maxManifest)
	var doc struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	return err != nil || json.Unmarshal(raw, &doc) != nil || doc.SchemaVersion == 0
}

// parts is what a manifest is made of.
type parts struct {
	Config    part   `json:"config"`
	Layers    []part `json:"layers"`
	Blobs     []part `json:"blobs"` // of an OCI artifact manifest
	Manifests []part `json:"manifests"`
}

// blobs are all that are no manifests; an index has none.
func (p parts) blobs() []part {
	all := slices.Concat([]part{p.Config}, p.Layers, p.Blobs)
	return slices.DeleteFunc(all, func(b part) bool { return b.Digest == "" })
}

// checkParts wants everything to be there that a manifest is made of, whole. Layers with URLs may lie there instead, and
// a subject may be missing, as everywhere.
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
