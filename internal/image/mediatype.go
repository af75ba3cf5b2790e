package image

// The media types of manifests, by the OCI image spec and by Docker's registry of types. They are written out here so that
// the pure packages need no client library.
const (
	MediaTypeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	MediaTypeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerSchema1  = "application/vnd.docker.distribution.manifest.v1+json"
	MediaTypeDockerSigned1  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// IsIndex tells whether a manifest of this media type lists other manifests.
func IsIndex(mediaType string) bool {
	return mediaType == MediaTypeOCIIndex || mediaType == MediaTypeDockerList
}

// IsManifest tells whether content of this media type lies under /manifests/ of a repository, not under /blobs/.
func IsManifest(mediaType string) bool {
	return IsIndex(mediaType) || mediaType == MediaTypeOCIManifest || mediaType == MediaTypeDockerManifest
}

// IsSchema1 tells whether the media type is one of Docker's schema 1, which no current registry stores.
func IsSchema1(mediaType string) bool {
	return mediaType == MediaTypeDockerSchema1 || mediaType == MediaTypeDockerSigned1
}

// IsForeignLayer tells whether a layer of this media type is fetched from its own URLs, not from the registry (Windows
// base layers; OCI image spec, "Non-Distributable Layers").
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
