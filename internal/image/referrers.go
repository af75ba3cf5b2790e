package image

import (
	"encoding/json"
	"strings"
)

// ReferrersTag is the tag under which a registry without the referrers API stores a manifest's referrers list (OCI distribution spec,
// "Referrers Tag Schema"): the digest, cut off after 64 characters.
func ReferrersTag(d Digest) string {
	algorithm, encoded, _ := strings.Cut(string(d), ":")
	return algorithm[:min(len(algorithm), 32)] + "-" + encoded[:min(len(encoded), 64)]
}

// IsAttachmentTag reports whether cosign attaches something to an image by such a tag: sha256-<hex>.sig, .att or .sbom.
func IsAttachmentTag(tag string) bool {
	digest, suffix, _ := strings.Cut(tag, ".")
	return IsReferrersTag(digest) && (suffix == "sig" || suffix == "att" || suffix == "sbom")
}

// IsReferrersTag reports whether a tag has such a name. That does not make it a list: OpenShift and others tag images with their own
// digest.
func IsReferrersTag(tag string) bool {
	algorithm, encoded, ok := strings.Cut(tag, "-")
	if !ok || algorithm != "sha256" && algorithm != "sha512" || len(encoded) != 64 {
		return false
	}
	return strings.Trim(encoded, "0123456789abcdef") == ""
}

// NamesDigest reports whether a tag is named for a digest, as referrers lists are, and what cosign attaches.
func NamesDigest(tag string) bool {
	algorithm, rest, ok := strings.Cut(tag, "-")
	return ok && (algorithm == "sha256" || algorithm == "sha384" || algorithm == "sha512") && len(rest) >= 64
}

// MayListReferrers reports whether a tag may hold a referrers list, so that its bytes must be checked: an index under a tag with such a
// name that is not the index's own digest.
func MayListReferrers(tag string, d Descriptor) bool {
	return IsReferrersTag(tag) && d.MediaType == MediaTypeOCIIndex && tag != ReferrersTag(d.Digest)
}

// ListsReferrers reports by the bytes whether a manifest is a referrers list: an index of artifacts, or an empty one. The entries of an
// image's index have platforms, or are blobs; those of a list mostly have artifact types, but need not.
func ListsReferrers(raw []byte) bool {
	var doc struct {
		MediaType string          `json:"mediaType"`
		Config    json.RawMessage `json:"config"`
		Layers    json.RawMessage `json:"layers"`
		Subject   json.RawMessage `json:"subject"`
		Manifests []struct {
			MediaType string `json:"mediaType"`
			Platform  struct {
				OS string `json:"os"`
			} `json:"platform"`
		} `json:"manifests"`
	}
	err := json.Unmarshal(raw, &doc)
	if err != nil || doc.MediaType != "" && doc.MediaType != MediaTypeOCIIndex || doc.Config != nil || doc.Layers != nil || doc.Subject != nil {
		return false
	}
	for _, e := range doc.Manifests {
		if e.Platform.OS != "" && e.Platform.OS != "unknown" || KindOf(e.MediaType) == Blobs {
			return false
		}
	}
	return true
}
