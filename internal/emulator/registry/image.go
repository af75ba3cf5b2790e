package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// The media types of what an Image consists of.
const (
	mediaIndex          = "application/vnd.oci.image.index.v1+json"
	mediaManifest       = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig         = "application/vnd.oci.image.config.v1+json"
	mediaLayer          = "application/vnd.oci.image.layer.v1.tar+gzip"
	mediaForeign        = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	mediaEmpty          = "application/vnd.oci.empty.v1+json"
	mediaInToto         = "application/vnd.in-toto+json"
	mediaDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaDockerConfig   = "application/vnd.docker.container.image.v1+json"
	mediaDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	mediaDockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

// ImageOptions shape an image. The zero value is two platforms with one layer of 1 KiB each.
type ImageOptions struct {
	// Platforms are like "linux/arm64" or "linux/arm/v7"; empty is linux/amd64 and linux/arm64.
	Platforms []string
	// Base are layers below those of the image, the same for all platforms; see NewLayer.
	Base []Layer
	// Layers is how many layers of its own a platform has; 0 is one, negative is none.
	Layers int
	// LayerSize is how many random bytes a layer packs; 0 is 1024. Random bytes do not shrink.
	LayerSize int64
	// Attestations adds for every platform a manifest as BuildKit does: unknown/unknown, about a sibling.
	Attestations bool
	// Docker uses the media types of Docker's schema 2 in place of OCI's.
	Docker bool
	// Foreign adds a layer to every platform that is not in the registry, but at a URL.
	Foreign bool
}

// Layer is a gzipped tar of one file.
type Layer struct {
	Digest string
	DiffID string // digest of the tar
	Data   []byte // do not write to it
}

// Blob is a config or a layer.
type Blob struct {
	Digest    string
	MediaType string
	Data      []byte // do not write to it: images share layers
}

// Manifest is an image manifest or an index.
type Manifest struct {
	Digest    string
	MediaType string
	Platform  string // of an image manifest: "os/arch[/variant]"; "unknown/unknown" for an attestation
	Body      []byte // do not write to it
}

// Image is everything to push for one tag.
type Image struct {
	Digest    string     // of the root: the last manifest
	Manifests []Manifest // children first, the root last
	Blobs     []Blob     // each digest once
}

// Root is the index, or the only manifest of a SingleArch image.
func (i Image) Root() Manifest { return i.Manifests[len(i.Manifests)-1] }

// Size is the sum of all blobs, in bytes.
func (i Image) Size() int64 {
	var size int64
	for _, b := range i.Blobs {
		size += int64(len(b.Data))
	}
	return size
}

// Digests are those of all manifests and blobs, sorted.
func (i Image) Digests() []string {
	var digests []string
	for _, m := range i.Manifests {
		digests = append(digests, m.Digest)
	}
	for _, b := range i.Blobs {
		digests = append(digests, b.Digest)
	}
	slices.Sort(digests)
	return digests
}

// NewLayer packs size random bytes; equal arguments give equal layers.
func NewLayer(seed, size int64) Layer {
	data := make([]byte, size)
	var key [32]byte
	copy(key[:], fmt.Sprintf("layer %d", seed))
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	var plain, packed bytes.Buffer
	archive := tar.NewWriter(&plain)
	name := fmt.Sprintf("data/%d", seed)
	must(archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, Format: tar.FormatUSTAR}))
	_, err := archive.Write(data)
	must(err)
	must(archive.Close())
	compressor, err := gzip.NewWriterLevel(&packed, gzip.NoCompression) // nothing to gain, and large corpora are made fast
	must(err)
	_, err = compressor.Write(plain.Bytes())
	must(err)
	must(compressor.Close())
	return Layer{Digest: Sum(packed.Bytes()), DiffID: Sum(plain.Bytes()), Data: packed.Bytes()}
}

// MultiArch makes an index with one image manifest for each platform; equal arguments give equal digests.
func MultiArch(seed int64, options ImageOptions) Image {
	if len(options.Platforms) == 0 {
		options.Platforms = []string{"linux/amd64", "linux/arm64"}
	}
	types := mediaTypesOf(options)
	b := builder{seed: seed, options: options, types: types, seen: map[string]bool{}}
	var children, attestations []descriptor
	for n, name := range options.Platforms {
		child := b.image(n, name)
		children = append(children, child)
		if options.Attestations {
			attestations = append(attestations, b.attestation(child))
		}
	}
	b.manifest(manifest{
		SchemaVersion: 2, MediaType: types.index, Manifests: append(children, attestations...),
	}, "")
	return b.finish()
}

// SingleArch makes one image manifest without an index. Platforms and Attestations of the options are not used.
func SingleArch(seed int64, platform string, options ImageOptions) Image {
	b := builder{seed: seed, options: options, types: mediaTypesOf(options), seen: map[string]bool{}}
	b.image(0, platform)
	return b.finish()
}

type mediaTypes struct{ index, manifest, config, layer, foreign string }

func mediaTypesOf(options ImageOptions) mediaTypes {
	if options.Docker {
		return mediaTypes{mediaDockerList, mediaDockerManifest, mediaDockerConfig, mediaDockerLayer, mediaDockerForeign}
	}
	return mediaTypes{mediaIndex, mediaManifest, mediaConfig, mediaLayer, mediaForeign}
}

// builder collects the parts of one image.
type builder struct {
	seed    int64
	options ImageOptions
	types   mediaTypes
	out     Image
	seen    map[string]bool // digests of blobs
}

func (b *builder) finish() Image {
	b.out.Digest = b.out.Root().Digest
	return b.out
}

// blob adds a blob once.
func (b *builder) blob(mediaType string, data []byte) descriptor {
	d := describe(mediaType, data)
	if !b.seen[d.Digest] {
		b.seen[d.Digest] = true
		b.out.Blobs = append(b.out.Blobs, Blob{Digest: d.Digest, MediaType: mediaType, Data: data})
	}
	return d
}

func (b *builder) manifest(m manifest, platform string) descriptor {
	body := encode(m)
	d := describe(m.MediaType, body)
	b.out.Manifests = append(b.out.Manifests, Manifest{
		Digest: d.Digest, MediaType: m.MediaType, Platform: platform, Body: body,
	})
	return d
}

// layers returns those of the n-th platform.
func (b *builder) layers(n int) []Layer {
	own, size := b.options.Layers, b.options.LayerSize
	if own == 0 {
		own = 1
	}
	if size == 0 {
		size = 1024
	}
	layers := slices.Clone(b.options.Base)
	for i := range own {
		layers = append(layers, NewLayer(b.seed*10_000+int64(n)*100+int64(i), size))
	}
	return layers
}

// image adds the image manifest of the n-th platform with its blobs.
func (b *builder) image(n int, name string) descriptor {
	on := parsePlatform(name)
	m := manifest{SchemaVersion: 2, MediaType: b.types.manifest}
	diffIDs := []string{}
	for _, layer := range b.layers(n) {
		m.Layers = append(m.Layers, b.blob(b.types.layer, layer.Data))
		diffIDs = append(diffIDs, layer.DiffID)
	}
	if b.options.Foreign {
		layer := NewLayer(-1-b.seed, 64)
		d := describe(b.types.foreign, layer.Data)
		d.URLs = []string{"https://layers.example.com/" + d.Digest}
		m.Layers = append(m.Layers, d)
		diffIDs = append(diffIDs, layer.DiffID)
	}
	config := b.blob(b.types.config, encode(struct {
		Created string `json:"created"`
		*platform
		Config struct {
			Labels map[string]string `json:"Labels"`
		} `json:"config"`
		RootFS map[string]any `json:"rootfs"`
	}{
		Created: "2024-01-01T00:00:00Z", platform: on,
		Config: struct {
			Labels map[string]string `json:"Labels"`
		}{map[string]string{"seed": fmt.Sprint(b.seed)}},
		RootFS: map[string]any{"type": "layers", "diff_ids": diffIDs},
	}))
	m.Config = &config
	d := b.manifest(m, name)
	d.Platform = on
	return d
}

// attestation adds a manifest about a child.
func (b *builder) attestation(child descriptor) descriptor {
	on := &platform{Architecture: "unknown", OS: "unknown"}
	statement := b.blob(mediaInToto, encode(map[string]any{
		"_type":         "https://in-toto.io/Statement/v0.1",
		"predicateType": "https://slsa.dev/provenance/v0.2",
		"subject":       []any{map[string]any{"name": "image", "digest": map[string]string{"sha256": strings.TrimPrefix(child.Digest, "sha256:")}}},
	}))
	config := b.blob(mediaConfig, encode(map[string]any{
		"architecture": "unknown", "os": "unknown", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{statement.Digest}},
	}))
	d := b.manifest(manifest{
		SchemaVersion: 2, MediaType: mediaManifest, Config: &config, Layers: []descriptor{statement},
	}, "unknown/unknown")
	d.Platform = on
	d.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": child.Digest,
	}
	return d
}

func parsePlatform(name string) *platform {
	parts := append(strings.SplitN(name, "/", 3), "", "")
	return &platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

func describe(mediaType string, data []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: Sum(data), Size: int64(len(data))}
}

// encode is for this package's own types, which always encode.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	must(err)
	return data
}

// must is for writers into memory, which do not fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
