package registry

import (
	"encoding/json"
	"mime"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// accepted are the media types of manifests that are asked for, the same at every HEAD and GET: a registry may choose by them what it
// gives, and another choice would have another digest.
var accepted = []string{
	image.MediaTypeOCIIndex, image.MediaTypeOCIManifest, image.MediaTypeDockerList, image.MediaTypeDockerManifest,
	image.MediaTypeDockerSigned1, image.MediaTypeDockerSchema1, mediaTypeArtifact,
}

// mediaTypeArtifact is of the artifact manifests that a draft of OCI 1.1 had.
const mediaTypeArtifact = "application/vnd.oci.artifact.manifest.v1+json"

// manifestType returns what a Content-Type says of a manifest; empty where it says nothing, as "application/json" does.
func manifestType(contentType string) string {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		mediaType, _, _ = strings.Cut(strings.ToLower(contentType), ";")
		mediaType = strings.TrimSpace(mediaType)
	}
	for _, known := range accepted {
		if mediaType == known {
			return mediaType
		}
	}
	return ""
}

// typeOf returns the media type of a manifest: what the document says of itself, which its digest covers, then what the header says where
// the document looks like it, then what it looks like. It is empty for a document that is no manifest.
func typeOf(raw []byte, contentType string) string {
	var doc struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		FSLayers      json.RawMessage `json:"fsLayers"`
		Signatures    json.RawMessage `json:"signatures"`
		Config        *struct {
			MediaType string `json:"mediaType"`
		} `json:"config"`
	}
	if json.Unmarshal(raw, &doc) != nil {
		return ""
	}
	said := manifestType(contentType)
	switch {
	case doc.MediaType != "":
		return doc.MediaType
	case doc.FSLayers != nil && doc.Signatures != nil:
		return image.MediaTypeDockerSigned1
	case doc.FSLayers != nil:
		return image.MediaTypeDockerSchema1
	case said != "" && image.IsIndex(said) == (doc.Manifests != nil):
		return said
	case doc.Manifests != nil:
		return image.MediaTypeOCIIndex
	case doc.Config != nil && doc.Config.MediaType == "application/vnd.docker.container.image.v1+json":
		return image.MediaTypeDockerManifest
	case doc.Config != nil:
		return image.MediaTypeOCIManifest
	case said == "" && strings.HasPrefix(contentType, "application/vnd."): // of somebody's own
		mediaType, _, _ := strings.Cut(contentType, ";")
		return mediaType
	}
	return said
}
