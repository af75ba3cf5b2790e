package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/draysync/dray/internal/image"
)

// rejection is an answer that refuses a request, as far as the way out depends on it.
type rejection struct {
	// host is the registry's, as the config has it.
	host string
	// op is what was asked, such as "PUT manifest", and path where.
	op, path      string
	status        int
	code, message string
	// repository is the one that an upload goes to, as it was asked for; empty for other requests.
	repository string
	// manifest is what was to be written, and mediaType its type; of no meaning for other requests.
	manifest  []byte
	mediaType string
}

// rejection is the one that an error tells of. The body is what was sent, where it is small.
func (t *transport) rejection(req *http.Request, body []byte, e *Error) rejection {
	r := rejection{
		host: t.host, op: e.Operation, path: t.clean(req.URL.Path), status: e.Status, code: e.ErrorCode, message: e.Message,
		manifest: body, mediaType: req.Header.Get("Content-Type"),
	}
	if up := uploadOf(req); up != nil {
		r.repository = up.repository
	}
	return r
}

// wayOut is what a person can do about a refusal.
type wayOut struct {
	hint string
	// lasting is set where trying again does not help, whatever the status says.
	lasting bool
	// closed is set where the repository takes nothing.
	closed bool
}

// wayOut returns the first way out that fits. The hint is empty where there is none.
func (r rejection) wayOut() wayOut {
	put, upload := r.op == "PUT manifest", strings.HasSuffix(r.op, " blob upload")
	foreign := put && r.foreign()
	switch {
	case diskFull(r.status, r.message):
		return wayOut{hint: "the registry's disk is full", lasting: true}
	case strings.Contains(r.message, "HTTP request to an HTTPS server"):
		return wayOut{hint: "it speaks TLS: take plainHTTP out of registries." + r.host}
	case upload && r.moved() != "":
		return wayOut{hint: fmt.Sprintf("it began the upload in %q: a proxy on the way changes paths, and not Location headers; mend it, or name the registry itself as the target", r.moved())}
	case foreign && r.status == http.StatusInternalServerError && r.code == "UNKNOWN": // distribution's words for a URL that is not allowed
		return wayOut{hint: "the image has layers by URL, which this registry refuses, with foreignLayers: true as well: allow them there (validation.manifests.urls.allow)", lasting: true}
	case foreign && (r.status == http.StatusBadRequest || r.status == http.StatusNotFound || r.status == http.StatusUnprocessableEntity):
		return wayOut{hint: "the image has layers by URL, which this registry wants to hold itself: set foreignLayers: true"}
	case put && image.IsDocker(r.mediaType) && (r.status == http.StatusUnsupportedMediaType || r.code == "MANIFEST_INVALID"):
		return wayOut{hint: "the image has Docker's media types, where the registry may take OCI's only: allow them there (zot: http.compat: [docker2s2]), or push the image to its source as OCI"}
	case put && r.status == http.StatusUnsupportedMediaType:
		return wayOut{hint: "the registry takes no manifests of the type " + clean(r.mediaType)}
	case put && r.status == http.StatusMethodNotAllowed:
		return wayOut{hint: "the tag or the repository is read-only or locked there"}
	case upload && (r.status == http.StatusMethodNotAllowed || r.status == http.StatusForbidden && onlyReads.MatchString(r.message)):
		return wayOut{
			hint:   "it takes nothing there: it is read-only, or brings its content itself, as a pull-through cache, a proxy or a virtual repository does; name another target",
			closed: true,
		}
	case r.status == http.StatusRequestEntityTooLarge:
		return wayOut{hint: "a proxy before the registry limits the size of uploads: raise that there (nginx: client_max_body_size 0)"}
	}
	return wayOut{hint: statusHint(r.status, r.host)}
}

// onlyReads is what registries say that forbid all writes, as Harbor does in its proxy projects and while it is read-only.
var onlyReads = regexp.MustCompile(`(?i)read[- ]?only|proxy|cache|mirror|virtual repo|remote repo`)

// statusHint is what a status alone tells.
func statusHint(status int, host string) string {
	switch status {
	case http.StatusUnauthorized:
		return "the sign-in was refused: check registries." + host + ", or docker login"
	case http.StatusForbidden:
		return "this account may not do that at " + host
	}
	return ""
}

// diskFull tells whether a registry has no room, which trying again does not make: most answer 500 and say it in their text, by
// the words of errno(3) for ENOSPC and EDQUOT.
func diskFull(status int, message string) bool {
	message = strings.ToLower(message)
	return status == http.StatusInsufficientStorage ||
		status == http.StatusInternalServerError && (strings.Contains(message, "no space left on device") || strings.Contains(message, "disk quota exceeded"))
}

// foreign tells whether the manifest has layers by URL.
func (r rejection) foreign() bool {
	var doc struct {
		Layers []struct {
			MediaType string   `json:"mediaType"`
			URLs      []string `json:"urls"`
		} `json:"layers"`
	}
	_ = json.Unmarshal(r.manifest, &doc) // then there are none
	for _, l := range doc.Layers {
		if image.IsForeignLayer(l.MediaType) && len(l.URLs) > 0 {
			return true
		}
	}
	return false
}

// uploadPath is where the distribution spec has uploads; a Location may lead anywhere.
var uploadPath = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)

// moved returns the repository in which an upload was begun, where that is another than the one that was asked for and the upload is not
// found; else it is empty.
func (r rejection) moved() string {
	begun := uploadPath.FindStringSubmatch(r.path)
	if r.status != http.StatusBadRequest && r.status != http.StatusForbidden && r.status != http.StatusNotFound && r.status != http.StatusMethodNotAllowed ||
		begun == nil || r.repository == "" || begun[1] == r.repository {
		return ""
	}
	return begun[1]
}
