package registry

import (
	"cmp"
	"crypto/sha512"
	"encoding/hex"
	"net/http"
)

// HeadOptions say how HEAD of a manifest is answered. The zero value is as GET is, without the body.
type HeadOptions struct {
	// Status refuses it, whatever GET does.
	Status int
	// MediaType is the Content-Type, in the place of the manifest's; "none" is no such header.
	MediaType string
	// NoDigest leaves Docker-Content-Digest out.
	NoDigest bool
	// Digest is what HEAD of a tag says that it holds, such as from a stale cache; empty is the truth.
	Digest string
	// SHA512 names what a tag holds by its sum by SHA-512, by which HEAD and GET find it as well.
	SHA512 bool
	// Keeps has HEAD find that digest, too, which GET does not.
	Keeps bool
}

func sum512(data []byte) string {
	sum := sha512.Sum512(data)
	return "sha512:" + hex.EncodeToString(sum[:])
}

func (o HeadOptions) reply(w http.ResponseWriter, digest string, m storedManifest, byTag bool) {
	if o.Status != 0 {
		w.WriteHeader(o.Status)
		return
	}
	if byTag {
		digest = cmp.Or(o.Digest, digest)
	}
	if o.SHA512 {
		digest = sum512(m.body)
	}
	if !o.NoDigest {
		w.Header().Set("Docker-Content-Digest", digest)
		w.Header().Set("Etag", `"`+digest+`"`)
	}
	mediaType := cmp.Or(o.MediaType, m.mediaType)
	if mediaType == "none" {
		w.Header()["Content-Type"] = nil // else net/http would guess one
		w.WriteHeader(http.StatusOK)
		return
	}
	reply(w, http.StatusOK, mediaType, m.body)
}
