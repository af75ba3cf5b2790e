package registry

import (
	"bytes"
	"encoding/json"
	"mime"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// accepted are the accepted media types of manifests, the same for every HEAD and GET: a registry may choose by them, and another choice
// has another digest.
var accepted = []string{
	image.MediaTypeOCIIndex, image.MediaTypeOCIManifest, image.MediaTypeDockerList, image.MediaTypeDockerManifest,
	image.MediaTypeDockerSigned1, image.MediaTypeDockerSchema1, mediaTypeArtifact,
}

// mediaTypeArtifact is the type of artifact manifests in a draft of OCI 1.1.
const mediaTypeArtifact = "application/vnd.oci.artifact.manifest.v1+json"

// manifestType returns the manifest type in a Content-Type; empty for types such as "application/json".
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

// typeOf returns the media type of a manifest: the one in the document, which the digest covers; else that of the header, if the document
// looks like it; else the one that the document looks like. It is empty for a document that is not a manifest.
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
	if json.Unmarshal(raw, &doc) != nil || !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) { // null is valid for json.Unmarshal
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
	case said == "" && strings.HasPrefix(contentType, "application/vnd."): // a vendor type
		mediaType, _, _ := strings.Cut(contentType, ";")
		return mediaType
	}
	return said
}
