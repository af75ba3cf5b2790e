package image_test

import (
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
)

func TestReferrersTag(t *testing.T) {
	hex := strings.Repeat("0af9", 16)
	for d, want := range map[image.Digest]string{
		image.Digest("sha256:" + hex):       "sha256-" + hex,
		image.Digest("sha512:" + hex + hex): "sha512-" + hex,
	} {
		if got := image.ReferrersTag(d); got != want || !image.IsReferrersTag(got) {
			t.Errorf("%s: %s", d, got)
		}
	}
	for _, tag := range []string{"sha256-" + hex + ".sig", "sha256-" + hex[1:], "sha256-" + hex + "0", "sha1-" + hex, "sha256-" + strings.ToUpper(hex), "v1", "sha256-"} {
		if image.IsReferrersTag(tag) {
			t.Errorf("%s passes for a list's tag", tag)
		}
	}
}

func TestMayListReferrers(t *testing.T) {
	own, other := image.DigestOf([]byte("a"), ""), image.DigestOf([]byte("b"), "")
	for _, tt := range []struct {
		tag  string
		d    image.Descriptor
		want bool
	}{
		{image.ReferrersTag(other), image.Descriptor{MediaType: image.MediaTypeOCIIndex, Digest: own}, true},
		{image.ReferrersTag(own), image.Descriptor{MediaType: image.MediaTypeOCIIndex, Digest: own}, false},
		{image.ReferrersTag(other), image.Descriptor{MediaType: image.MediaTypeDockerList, Digest: own}, false},
		{image.ReferrersTag(other), image.Descriptor{MediaType: image.MediaTypeOCIManifest, Digest: own}, false},
		{"v1", image.Descriptor{MediaType: image.MediaTypeOCIIndex, Digest: own}, false},
	} {
		if got := image.MayListReferrers(tt.tag, tt.d); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestListsReferrers(t *testing.T) {
	const entry = `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:0","size":1`
	for raw, want := range map[string]bool{
		`{"schemaVersion":2,"manifests":[]}`: true,
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + entry + `,"artifactType":"a/b"}]}`: true,
		`{"schemaVersion":2,"manifests":[` + entry + `}]}`:                                                                           true,
		`{"schemaVersion":2,"manifests":[` + entry + `,"platform":{"os":"linux","architecture":"amd64"}}]}`:                          false,
		`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:0","size":1}]}`: false,
		`{"schemaVersion":2,"subject":{"digest":"sha256:1"},"manifests":[` + entry + `,"artifactType":"a/b"}]}`:                      false,
		`{"schemaVersion":2,"config":{},"layers":[]}`:                                                                                false,
		`{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}`:                                   false,
		`not JSON`: false,
	} {
		if got := image.ListsReferrers([]byte(raw)); got != want {
			t.Errorf("%s: %v", raw, got)
		}
	}
}
