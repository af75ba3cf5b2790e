package image

import "strings"

// The media types of manifests, of the OCI image spec and of Docker. They are defined here so that the pure packages need no client
// library.
const (
	MediaTypeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	MediaTypeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeOCIArtifact    = "application/vnd.oci.artifact.manifest.v1+json" // of a draft of the spec
	MediaTypeDockerSchema1  = "application/vnd.docker.distribution.manifest.v1+json"
	MediaTypeDockerSigned1  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// IsIndex reports whether a manifest of this media type lists other manifests.
func IsIndex(mediaType string) bool {
	return mediaType == MediaTypeOCIIndex || mediaType == MediaTypeDockerList
}

// MaxNesting limits how deeply indexes may be nested; real ones have at most two levels.
const MaxNesting = 32

// Kind is how a repository stores content: as a manifest, under /manifests/, or as a blob, under /blobs/.
type Kind int

// The kinds. An unknown media type only makes one likely.
const (
	Manifests Kind = iota
	Blobs
	LikelyManifests
	LikelyBlobs
)

// KindOf returns the kind of an entry of an index, by its media type. Without one it is a manifest, by the OCI image index spec; BuildKit's
// caches and others list layers and configs.
func KindOf(mediaType string) Kind {
	switch {
	case mediaType == "", IsIndex(mediaType), IsSchema1(mediaType),
		mediaType == MediaTypeOCIManifest, mediaType == MediaTypeDockerManifest, mediaType == MediaTypeOCIArtifact:
		return Manifests
	case isBlob(mediaType):
		return Blobs
	}
	for _, word := range []string{"manifest", "index", "json"} {
		if strings.Contains(mediaType, word) {
			return LikelyManifests
		}
	}
	return LikelyBlobs
}

func isBlob(mediaType string) bool {
	for _, prefix := range []string{
		"application/vnd.oci.image.layer.", "application/vnd.oci.image.config.", "application/vnd.oci.empty.",
		"application/vnd.docker.image.rootfs.", "application/vnd.docker.container.image.", "application/vnd.docker.plugin.",
		"application/vnd.buildkit.cacheconfig.", "application/vnd.in-toto", "application/octet-stream", "application/gzip", "application/x-tar",
	} {
		if strings.HasPrefix(mediaType, prefix) {
			return true
		}
	}
	return false
}

// IsDocker reports whether the media type of a manifest is one of Docker's schema 2.
func IsDocker(mediaType string) bool {
	return mediaType == MediaTypeDockerList || mediaType == MediaTypeDockerManifest
}

// IsSchema1 reports whether the media type is one of Docker's schema 1, which no current registry stores.
func IsSchema1(mediaType string) bool {
	return mediaType == MediaTypeDockerSchema1 || mediaType == MediaTypeDockerSigned1
}

// IsForeignLayer reports whether a layer of this media type is fetched from its own URLs, not from the registry (Windows base layers; OCI
// image spec, "Non-Distributable Layers").
func IsForeignLayer(mediaType string) bool {
	switch mediaType {
	case "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.foreign.diff.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return true
	}
	return false
}
