package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxManifest is what registries accept at most, in bytes.
const maxManifest = 4 << 20

// descriptor is the part of a descriptor that this package reads and writes.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     *platform         `json:"platform,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// foreign blobs are elsewhere, and need not be in the registry.
func (d descriptor) foreign() bool {
	return len(d.URLs) > 0 || strings.Contains(d.MediaType, ".foreign.") || strings.Contains(d.MediaType, ".nondistributable.")
}

// manifest tells whether an entry of an index can be nothing but a manifest; registries take entries that are blobs, too.
func (d descriptor) manifest() bool {
	switch d.MediaType {
	case mediaIndex, mediaManifest, mediaDockerList, mediaDockerManifest:
		return true
	}
	return false
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// manifest is an image manifest or an index, OCI or Docker.
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *descriptor       `json:"config,omitempty"`
	Layers        []descriptor      `json:"layers,omitempty"`
	Manifests     []descriptor      `json:"manifests,omitempty"`
	Subject       *descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// blobs are the config and the layers that a registry has to hold.
func (m manifest) blobs() []descriptor {
	var list []descriptor
	if m.Config != nil {
		list = append(list, *m.Config)
	}
	list = append(list, m.Layers...)
	return slices.DeleteFunc(list, descriptor.foreign)
}

// refusal is why a manifest is not accepted, always with status 400.
type refusal struct{ code, message string }

// checkManifest returns nil for a manifest that may be stored.
func (r *Registry) checkManifest(repository, reference, mediaType string, body []byte) *refusal {
	var m manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return &refusal{"MANIFEST_INVALID", err.Error()}
	}
	if mediaType == "" || m.MediaType != "" && m.MediaType != mediaType {
		return &refusal{"MANIFEST_INVALID", fmt.Sprintf("sent as %q, but says %q", mediaType, m.MediaType)}
	}
	if isDigest(reference) && Sum(body) != reference {
		return &refusal{"DIGEST_INVALID", "provided digest did not match uploaded content"}
	}
	if r.options.LaxManifests {
		return nil
	}
	for _, blob := range m.blobs() {
		if !r.HasBlob(repository, blob.Digest) {
			return &refusal{"MANIFEST_BLOB_UNKNOWN", "blob unknown to registry: " + blob.Digest}
		}
	}
	for _, child := range m.Manifests {
		if r.content.relinked(repository, child.Digest) {
			return &refusal{"DIGEST_INVALID", "provided digest did not match uploaded content"}
		}
		// docker-registry names a missing child as it names a missing blob.
		if r.Digest(repository, child.Digest) == "" && (child.manifest() || !r.HasBlob(repository, child.Digest)) {
			return &refusal{"MANIFEST_BLOB_UNKNOWN", "blob unknown to registry: " + child.Digest}
		}
	}
	return nil
}

// serveManifest answers GET, HEAD, PUT and DELETE.
func (r *Registry) serveManifest(w http.ResponseWriter, req *http.Request, to route) {
	if req.Method == http.MethodPut {
		r.putManifest(w, req, to)
		return
	}
	if r.options.Heads.SHA512 && strings.HasPrefix(to.reference, "sha512:") {
		to.reference = r.content.bySHA512(to.repository, to.reference)
	}
	digest, m, found := r.content.manifest(to.repository, to.reference)
	if o := r.options.Heads; !found && o.Keeps && req.Method == http.MethodHead && to.reference == o.Digest {
		o.reply(w, o.Digest, storedManifest{mediaType: mediaManifest}, false)
		return
	}
	if !found {
		r.missing(w, "MANIFEST_UNKNOWN", "manifest unknown: "+to.reference)
		return
	}
	if r.options.TagsOnly != 0 && isDigest(to.reference) && (req.Method == http.MethodGet || req.Method == http.MethodHead) && r.content.tagged(to.repository, digest) {
		fail(w, r.options.TagsOnly, "MANIFEST_UNKNOWN", "manifest unknown: "+to.reference)
		return
	}
	r.asked.Store(to.repository+":"+to.reference, digest)
	switch req.Method {
	case http.MethodHead:
		r.options.Heads.reply(w, digest, m, !isDigest(to.reference))
	case http.MethodGet:
		w.Header().Set("Docker-Content-Digest", digest)
		w.Header().Set("Etag", `"`+digest+`"`)
		reply(w, http.StatusOK, cmp.Or(r.options.ManifestType, m.mediaType), m.body)
	case http.MethodDelete:
		if isDigest(to.reference) {
			r.DeleteManifest(to.repository, digest)
		} else {
			r.DeleteTag(to.repository, to.reference)
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		notAllowed(w)
	}
}

func (r *Registry) putManifest(w http.ResponseWriter, req *http.Request, to route) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxManifest))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		fail(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID", "manifest too large")
		return
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "MANIFEST_INVALID", err.Error())
		return
	}
	mediaType := req.Header.Get("Content-Type")
	if r.options.OCIOnly && strings.HasPrefix(mediaType, "application/vnd.docker.") {
		fail(w, http.StatusUnsupportedMediaType, "MANIFEST_INVALID", "media type is not supported: "+mediaType)
		return
	}
	defer r.relink(req, to, Sum(body))()
	if no := r.checkManifest(to.repository, to.reference, mediaType, body); no != nil {
		fail(w, http.StatusBadRequest, no.code, no.message)
		return
	}
	if _, _, there := r.content.manifest(to.repository, to.reference); there && r.options.ImmutableTags && !isDigest(to.reference) {
		fail(w, http.StatusBadRequest, "TAG_INVALID", fmt.Sprintf("The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.",
			to.reference, to.repository))
		return
	}
	digest := Sum(body)
	r.content.putManifest(to.repository, to.reference, digest, storedManifest{mediaType, body})
	var m manifest
	if err := json.Unmarshal(body, &m); err == nil && m.Subject != nil && r.options.Referrers {
		w.Header().Set("OCI-Subject", m.Subject.Digest)
	}
	if r.options.QuietPuts {
		w.WriteHeader(http.StatusCreated)
		return
	}
	created(w, to.repository, "manifests", digest)
}

// reply sends a whole body with its length, to HEAD the length alone.
func reply(w http.ResponseWriter, status int, mediaType string, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // net/http drops it for HEAD; an error is the client's leaving
}
