package image_test

import (
	"testing"

	"github.com/draysync/dray/internal/image"
)

func TestKindOf(t *testing.T) {
	for mediaType, want := range map[string]image.Kind{
		"":                           image.Manifests,
		image.MediaTypeOCIIndex:      image.Manifests,
		image.MediaTypeOCIManifest:   image.Manifests,
		image.MediaTypeDockerSigned1: image.Manifests,
		image.MediaTypeOCIArtifact:   image.Manifests,
		"application/vnd.oci.image.layer.v1.tar+zstd":               image.Blobs,
		"application/vnd.oci.image.config.v1+json":                  image.Blobs,
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": image.Blobs,
		"application/vnd.buildkit.cacheconfig.v0":                   image.Blobs,
		"application/vnd.acme.manifest.v3":                          image.LikelyManifests,
		"application/vnd.acme.thing+json":                           image.LikelyManifests,
		"application/vnd.acme.thing":                                image.LikelyBlobs,
		"text/plain":                                                image.LikelyBlobs,
	} {
		if got := image.KindOf(mediaType); got != want {
			t.Errorf("%q is %d, want %d", mediaType, got, want)
		}
	}
}
