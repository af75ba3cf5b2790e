package registry

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// serveReferrers answers with an index of the manifests whose subject is asked for; an unknown subject has none.
func (r *Registry) serveReferrers(w http.ResponseWriter, req *http.Request, to route) {
	if answer := r.options.ReferrersAnswer; answer != nil {
		answer.give(w)
		return
	}
	if !r.options.Referrers {
		http.NotFound(w, req)
		return
	}
	if req.Method != http.MethodGet {
		notAllowed(w)
		return
	}
	list := r.referrers(to.repository, to.reference)
	if artifactType := req.URL.Query().Get("artifactType"); artifactType != "" {
		list = slices.DeleteFunc(list, func(d descriptor) bool { return d.ArtifactType != artifactType })
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	reply(w, http.StatusOK, mediaIndex, referrersIndex(list))
}

// referrers are sorted by digest.
func (r *Registry) referrers(repository, subject string) []descriptor {
	list := []descriptor{}
	for _, digest := range r.content.digests(repository) {
		_, stored, found := r.content.manifest(repository, digest)
		var m manifest
		if !found || json.Unmarshal(stored.body, &m) != nil || m.Subject == nil || m.Subject.Digest != subject {
			continue
		}
		if m.ArtifactType == "" && m.Config != nil {
			m.ArtifactType = m.Config.MediaType
		}
		list = append(list, descriptor{
			MediaType: stored.mediaType, Digest: digest, Size: int64(len(stored.body)),
			ArtifactType: m.ArtifactType, Annotations: m.Annotations,
		})
	}
	return list
}

// referrersIndex always has the key "manifests", which the omitempty of manifest would drop.
func referrersIndex(list []descriptor) []byte {
	return encode(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, mediaIndex, list})
}

// PutReferrer attaches an artifact, with payload as its one layer, to a manifest, which need not be in the repository, and returns the
// artifact's digest. Without the referrers API it also writes the fallback tag, as a client would have to.
func (r *Registry) PutReferrer(repository, subject, artifactType string, payload []byte) (digest string, err error) {
	about := descriptor{MediaType: mediaManifest, Digest: subject}
	if mediaType, body, found := r.Manifest(repository, subject); found {
		about = describe(mediaType, body)
	}
	r.PutBlob(repository, []byte("{}"))
	r.PutBlob(repository, payload)
	layer := describe("application/octet-stream", payload)
	if strings.HasPrefix(artifactType, "application/vnd.dev.sigstore.bundle") {
		layer.MediaType = artifactType // as cosign has it
	}
	config := describe(mediaEmpty, []byte("{}"))
	digest, err = r.PutManifest(repository, "", mediaManifest, encode(manifest{
		SchemaVersion: 2, MediaType: mediaManifest, ArtifactType: artifactType,
		Config: &config, Layers: []descriptor{layer}, Subject: &about,
	}))
	if err != nil || r.options.Referrers {
		return digest, err
	}
	fallback := strings.Replace(subject, ":", "-", 1)
	if _, err := r.PutManifest(repository, fallback, mediaIndex, referrersIndex(r.referrers(repository, subject))); err != nil {
		return "", err
	}
	return digest, nil
}
