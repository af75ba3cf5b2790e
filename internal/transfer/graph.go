package transfer

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/draysync/dray/internal/diff"
	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// node is a manifest with what it refers to.
type node struct {
	manifest image.Manifest
	// entries are those of an index, in order; children are the entries that are manifests, or may be, each digest once.
	entries, children []child
	// blobs are the config and the layers of an image manifest, and the entries of an index that are not manifests, each digest once. They
	// do not include foreign layers, which clients fetch by their URLs.
	blobs, foreign []blob
}

// blob is a config or a layer.
type blob struct {
	image.Descriptor
	// urls are the locations of a foreign layer, if any.
	urls []string
	// data is the content, if its descriptor has it inline.
	data []byte
}

// child is an entry of an index.
type child struct {
	image.Descriptor
	platform image.Platform
	// describes is the digest of the manifest that an attestation belongs to; empty for others.
	describes image.Digest
	// data is the content, if its descriptor has it inline.
	data []byte
}

// document has the fields of image manifests and indexes (OCI image spec, "Image Manifest" and "Image Index"; Docker's schema 2 has the
// same).
type document struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
	Config        *descriptor  `json:"config"`
	Layers        []descriptor `json:"layers"`
	Blobs         []descriptor `json:"blobs"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      image.Digest      `json:"digest"`
	Size        int64             `json:"size"`
	URLs        []string          `json:"urls"`
	Annotations map[string]string `json:"annotations"`
	Data        json.RawMessage   `json:"data"`
	Platform    struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
	} `json:"platform"`
}

// describesKey is the annotation with which BuildKit's attestations name their manifest.
const describesKey = "vnd.docker.reference.digest"

// maxBlobs limits what one manifest may refer to, far above anything real.
const maxBlobs = 10_000

// parse reads a manifest. It refuses formats that no current registry stores.
func parse(m image.Manifest) (node, error) {
	if image.IsSchema1(m.MediaType) {
		return node{}, &mirror.RefusedError{Reason: diff.Unsupported, Detail: "it is a manifest of Docker's schema 1, which current registries no longer store: push the image anew at the source"}
	}
	n := node{manifest: m}
	var doc document
	if err := json.Unmarshal(m.Raw, &doc); err != nil {
		return n, unreadable(m, err)
	}
	if err := checkFields(m.Raw); err != nil {
		return n, fmt.Errorf("manifest %s can be read in two ways: %w", m.Digest, err)
	}
	if doc.SchemaVersion == 1 {
		return parse(image.Manifest{Descriptor: image.Descriptor{MediaType: image.MediaTypeDockerSchema1, Digest: m.Digest}})
	}
	if len(doc.Manifests)+len(doc.Layers)+len(doc.Blobs) > maxBlobs {
		return n, fmt.Errorf("manifest %s refers to more than %d others", m.Digest, maxBlobs)
	}
	if image.IsIndex(m.MediaType) {
		return n, n.addEntries(doc.Manifests)
	}
	blobs := append(doc.Layers, doc.Blobs...)
	if doc.Config != nil {
		blobs = append([]descriptor{*doc.Config}, blobs...)
	}
	return n, n.addBlobs(blobs)
}

// unreadable says why a manifest cannot be read. Clients and registries that are written in Go read it in the same way, so that an image whose sizes are
// written as 399.0 could not be pulled from the target either.
func unreadable(m image.Manifest, err error) error {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return fmt.Errorf("manifest %s is not a JSON document: %w", m.Digest, err)
	}
	return fmt.Errorf("manifest %s has a %s in the place of its field %q, which clients refuse to read: push the image anew at the source", m.Digest, wrong.Value, wrong.Field)
}

// digests returns the digests of the children and of the blobs.
func (n node) digests() []image.Digest {
	list := make([]image.Digest, 0, len(n.children)+len(n.blobs)+1)
	for _, c := range n.children {
		list = append(list, c.Digest)
	}
	for _, d := range n.blobs {
		list = append(list, d.Digest)
	}
	return list
}

func (n *node) addEntries(list []descriptor) error {
	var blobs []descriptor
	seen := map[image.Digest]int64{}
	for _, d := range list {
		if err := d.check(seen); err != nil {
			return fmt.Errorf("manifest %s: %w", n.manifest.Digest, err)
		}
		_, known := seen[d.Digest]
		seen[d.Digest] = d.Size
		c := child{
			Descriptor: d.plain(),
			platform:   image.Platform{OS: d.Platform.OS, Architecture: d.Platform.Architecture, Variant: d.Platform.Variant}.Normal(),
			describes:  image.Digest(d.Annotations[describesKey]),
			data:       d.inline(),
		}
		n.entries = append(n.entries, c)
		switch {
		case image.KindOf(d.MediaType) == image.Blobs:
			blobs = append(blobs, d)
		case !known:
			n.children = append(n.children, c)
		}
	}
	return n.addBlobs(blobs)
}

func (n *node) addBlobs(list []descriptor) error {
	seen := map[image.Digest]int64{}
	for _, d := range list {
		if err := d.check(seen); err != nil {
			return fmt.Errorf("manifest %s: %w", n.manifest.Digest, err)
		}
		if d.Size == 0 && d.Digest != image.DigestOf(nil, d.Digest) {
			return fmt.Errorf("manifest %s: it gives %s no size, or 0: push the image anew at the source", n.manifest.Digest, d.Digest)
		}
		_, known := seen[d.Digest]
		switch {
		case known:
		case image.IsForeignLayer(d.MediaType) && len(d.URLs) > 0:
			n.foreign = append(n.foreign, blob{d.plain(), d.URLs, d.inline()})
		default:
			n.blobs = append(n.blobs, blob{d.plain(), nil, d.inline()})
		}
		seen[d.Digest] = d.Size
	}
	return nil
}

// isManifest reports by the bytes whether content of an unspecific media type is a manifest: the OCI image spec requires "schemaVersion",
// and its draft for artifacts had "mediaType".
func isManifest(raw []byte) bool {
	var doc document
	return json.Unmarshal(raw, &doc) == nil && (doc.SchemaVersion > 0 || image.KindOf(doc.MediaType) == image.Manifests && doc.MediaType != "")
}

// typeIn returns the type that a manifest names itself; empty for none that is one of manifests.
func typeIn(raw []byte) string {
	var doc document
	if json.Unmarshal(raw, &doc) != nil || image.KindOf(doc.MediaType) != image.Manifests {
		return ""
	}
	return doc.MediaType
}

func (d descriptor) plain() image.Descriptor {
	return image.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// inline returns the content that a descriptor has inline (OCI image spec, "Embedded Content"); nil if that is not what it describes.
func (d descriptor) inline() []byte {
	var data []byte
	if len(d.Data) == 0 || json.Unmarshal(d.Data, &data) != nil || int64(len(data)) != d.Size || image.DigestOf(data, d.Digest) != d.Digest {
		return nil
	}
	return data
}

// check checks a descriptor. sizes are those of the digests before it.
func (d descriptor) check(sizes map[image.Digest]int64) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	if d.Size < 0 {
		return fmt.Errorf("%s has the size %d", d.Digest, d.Size)
	}
	if size, ok := sizes[d.Digest]; ok && size != d.Size {
		return twoSizes(d.Digest, size, d.Size)
	}
	return nil
}

func twoSizes(d image.Digest, first, second int64) error {
	return fmt.Errorf("the image gives %s two sizes, %d and %d: push it anew at the source", d, first, second)
}
