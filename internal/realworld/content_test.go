package realworld

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
	"github.com/draysync/dray/internal/fulltest"
)

const (
	images   = 20
	few      = 8
	app      = "team/app-00"
	bigRepo  = "team/big"
	sbomType = "application/spdx+json"
	ociImage = "application/vnd.oci.image.manifest.v1+json"
)

// origin is where a trial's images come from: a registry of ours.
type origin struct {
	*registry.Registry
	host string
	// tags are those of the repository app, with their digests.
	tags map[string]string
	// large is the digest of the one image in the repository bigRepo, where putLarge has made it.
	large string
}

// newOrigin makes 20 images for two platforms, each signed as cosign does by tag, and with so many SBOMs that refer to it.
func newOrigin(t *testing.T, sboms int) *origin {
	t.Helper()
	return newOriginOf(t, images, sboms)
}

func newOriginOf(t *testing.T, images, sboms int) *origin {
	t.Helper()
	o := &origin{Registry: registry.New(registry.Options{Referrers: true}), tags: map[string]string{}}
	corpus := registry.Corpus{Prefix: "team/", Tags: images, SharedLayers: 2, Image: registry.ImageOptions{LayerSize: 5000}}
	for one := range corpus.Images() {
		o.put(t, one.Tag, one.Image, sboms)
	}
	o.host = registrytest.Start(t, o).Host
	return o
}

// put adds an image or moves a tag, signs, and attaches.
func (o *origin) put(t *testing.T, tag string, image registry.Image, sboms int) {
	t.Helper()
	if err := image.Push(o.Registry, app, tag); err != nil {
		t.Fatal(err)
	}
	o.tags[tag] = image.Digest
	o.sign(t, image.Digest)
	for n := range sboms {
		if _, err := o.PutReferrer(app, image.Digest, sbomType, fmt.Appendf(nil, `{"spdxVersion":"SPDX-2.3","name":"%s %d"}`, tag, n)); err != nil {
			t.Fatal(err)
		}
	}
}

// sign writes what cosign writes beside an image: of the signature itself nobody asks here.
func (o *origin) sign(t *testing.T, digest string) {
	t.Helper()
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"app"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":null}`, digest)
	config := fmt.Appendf(nil, `{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":["%s"]},"config":{}}`, registry.Sum(payload))
	o.PutBlob(app, payload)
	o.PutBlob(app, config)
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": ociImage,
		"config": descriptor("application/vnd.oci.image.config.v1+json", config, nil),
		"layers": []any{descriptor("application/vnd.dev.cosign.simplesigning.v1+json", payload, map[string]string{"dev.cosignproject.cosign/signature": "MEUCIQ=="})},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.PutManifest(app, signatureTag(digest), ociImage, manifest); err != nil {
		t.Fatal(err)
	}
}

func descriptor(mediaType string, data []byte, annotations map[string]string) map[string]any {
	d := map[string]any{"mediaType": mediaType, "digest": registry.Sum(data), "size": len(data)}
	if annotations != nil {
		d["annotations"] = annotations
	}
	return d
}

// signatureTag is where cosign looks for the signatures of an image.
func signatureTag(digest string) string { return strings.Replace(digest, ":", "-", 1) + ".sig" }

// largeLayer is shared by all trials, as its bytes are in the emulators.
var largeLayer = sync.OnceValue(func() []byte {
	size := 30_000_000
	if fulltest.Enabled() {
		size = 300_000_000
	}
	data := make([]byte, size)
	_, _ = rand.Read(data) // never fails
	return data
})

// putLarge makes an image with a large layer.
func (o *origin) putLarge(t *testing.T) {
	t.Helper()
	layer := largeLayer()
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["%s"]},"config":{}}`, registry.Sum(layer[:1]))
	o.PutBlob(bigRepo, config)
	o.PutBlob(bigRepo, layer)
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": ociImage,
		"config": descriptor("application/vnd.oci.image.config.v1+json", config, nil),
		"layers": []any{descriptor("application/vnd.oci.image.layer.v1.tar", layer, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if o.large, err = o.PutManifest(bigRepo, "1", ociImage, manifest); err != nil {
		t.Fatal(err)
	}
}
