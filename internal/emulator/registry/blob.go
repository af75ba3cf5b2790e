package registry

import (
	"bytes"
	"net/http"
	"time"
)

// serveBlob answers GET (ranges too), HEAD and DELETE.
func (r *Registry) serveBlob(w http.ResponseWriter, req *http.Request, to route) {
	data, found := r.content.blob(to.repository, to.reference)
	if !found || r.options.Uploads.Late && !r.content.named(to.repository, to.reference) {
		fail(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	if r.options.Store != nil && req.Method == http.MethodGet {
		r.options.Store.redirect(w, req, to.reference, data)
		return
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Docker-Content-Digest", to.reference)
		w.Header().Set("Etag", `"`+to.reference+`"`)
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
	case http.MethodDelete:
		r.DeleteBlob(to.repository, to.reference)
		w.WriteHeader(http.StatusAccepted)
	default:
		notAllowed(w)
	}
}
