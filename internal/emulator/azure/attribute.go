package azure

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// attributes are what can be changed of a tag or a manifest: its locks.
type attributes struct {
	DeleteEnabled bool `json:"deleteEnabled"`
	WriteEnabled  bool `json:"writeEnabled"`
	ListEnabled   bool `json:"listEnabled"`
	ReadEnabled   bool `json:"readEnabled"`
}

// key names a tag or a manifest in Registry.locked.
func key(repository, reference string) string {
	if strings.Contains(reference, ":") {
		return repository + "@" + reference
	}
	return repository + ":" + reference
}

func (r *Registry) attributes(repository, reference string) attributes {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, known := r.locked[key(repository, reference)]; known {
		return a
	}
	return attributes{true, true, true, true}
}

// Lock forbids writing a tag or, by its digest, deleting a manifest; with false it allows that again. It is what
// writeEnabled in the attributes says.
func (r *Registry) Lock(repository, reference string, locked bool) {
	a := r.attributes(repository, reference)
	a.WriteEnabled = !locked
	r.mu.Lock()
	defer r.mu.Unlock()
	r.locked[key(repository, reference)] = a
}

// Locked says whether a tag or manifest is locked.
func (r *Registry) Locked(repository, reference string) bool {
	return !r.attributes(repository, reference).WriteEnabled
}

// lockedFor says whether a lock forbids a client's request for a manifest.
func (r *Registry) lockedFor(method, repository, reference string) bool {
	a := r.attributes(repository, reference)
	switch method {
	case http.MethodPut:
		return !a.WriteEnabled
	case http.MethodDelete:
		if !a.WriteEnabled || !a.DeleteEnabled {
			return true
		}
		return slices.ContainsFunc(r.Content.Tags(repository), func(tag string) bool {
			return r.Content.TaggedDigest(repository, tag) == reference && r.Locked(repository, tag)
		})
	}
	return false
}

// failLocked refuses what a lock forbids.
func failLocked(w http.ResponseWriter) {
	failRegistry(w, http.StatusMethodNotAllowed, "REGISTRY_DISALLOWED_OPERATION",
		"The operation is disallowed on this registry, repository or image. View troubleshooting steps at "+
			"https://aka.ms/acr/faq/#why-does-my-pull-or-push-request-fail-with-disallowed-operation")
}

// attributePath reads REPOSITORY, REPOSITORY/_tags[/TAG] or REPOSITORY/_manifests[/DIGEST].
func attributePath(rest string) (repository, noun, reference string) {
	for _, noun := range []string{"_tags", "_manifests"} {
		if name, found := strings.CutSuffix(rest, "/"+noun); found {
			return name, noun, ""
		}
		if at := strings.LastIndex(rest, "/"+noun+"/"); at > 0 {
			return rest[:at], noun, rest[at+len(noun)+2:]
		}
	}
	return rest, "", ""
}

func attributeNeeds(method, rest string) (need []access, repository string) {
	repository, _, _ = attributePath(rest)
	action := map[string]string{http.MethodGet: "metadata_read", http.MethodHead: "metadata_read", http.MethodDelete: "delete"}[method]
	if action == "" {
		action = "metadata_write"
	}
	return []access{{"repository", repository, []string{action}}}, repository
}

// serveAttributes is the registry's own API: the attributes of tags and manifests, read and changed, and tags deleted.
func (r *Registry) serveAttributes(w http.ResponseWriter, req *http.Request) {
	repository, noun, reference := attributePath(strings.TrimPrefix(req.URL.Path, "/acr/v1/"))
	switch {
	case !slices.Contains(r.Content.Repositories(), repository):
		failRegistry(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
	case noun == "_tags" && reference == "":
		tags := []any{}
		for _, tag := range r.Content.Tags(repository) {
			tags = append(tags, r.tag(repository, tag))
		}
		writeJSON(w, http.StatusOK, map[string]any{"registry": r.LoginServer(), "imageName": repository, "tags": tags})
	case noun == "_tags" && r.Content.TaggedDigest(repository, reference) == "":
		failRegistry(w, http.StatusNotFound, "TAG_UNKNOWN", "the specified tag does not exist")
	case noun == "_manifests" && r.Content.Digest(repository, reference) == "":
		failRegistry(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest "+reference+" is not found")
	case noun == "":
		writeJSON(w, http.StatusOK, map[string]any{
			"registry": r.LoginServer(), "imageName": repository, "tagCount": len(r.Content.Tags(repository)),
			"changeableAttributes": attributes{true, true, true, true},
		})
	default:
		r.serveAttribute(w, req, repository, noun, reference)
	}
}

func (r *Registry) serveAttribute(w http.ResponseWriter, req *http.Request, repository, noun, reference string) {
	switch req.Method {
	case http.MethodGet:
	case http.MethodPatch:
		a := r.attributes(repository, reference)
		if err := json.NewDecoder(req.Body).Decode(&a); err != nil {
			failRegistry(w, http.StatusBadRequest, "UNSUPPORTED", err.Error())
			return
		}
		r.mu.Lock()
		r.locked[key(repository, reference)] = a
		r.mu.Unlock()
	case http.MethodDelete:
		a := r.attributes(repository, reference)
		if noun != "_tags" || !a.WriteEnabled || !a.DeleteEnabled {
			failLocked(w)
			return
		}
		r.Content.DeleteTag(repository, reference)
		w.WriteHeader(http.StatusAccepted)
		return
	default:
		failRegistry(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		return
	}
	document := map[string]any{"registry": r.LoginServer(), "imageName": repository}
	if noun == "_tags" {
		document["tag"] = r.tag(repository, reference)
	} else {
		media, body, _ := r.Content.Manifest(repository, reference)
		document["manifest"] = map[string]any{
			"digest": reference, "mediaType": media, "imageSize": len(body), "changeableAttributes": r.attributes(repository, reference),
		}
	}
	writeJSON(w, http.StatusOK, document)
}

// tag describes a tag.
func (r *Registry) tag(repository, tag string) map[string]any {
	return map[string]any{
		"name": tag, "digest": r.Content.TaggedDigest(repository, tag), "signed": false,
		"changeableAttributes": r.attributes(repository, tag),
	}
}
