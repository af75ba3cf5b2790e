package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/wire"
)

// rejection describes a refused request, as far as the way out depends on it.
type rejection struct {
	// op is the request, such as "PUT manifest", path its path.
	op, path      string
	status        int
	code, message string
	// repository is the requested repository of an upload; empty for other requests.
	repository string
	// manifest is the manifest that was to be written, mediaType its type; unused for other requests.
	manifest  []byte
	mediaType string
}

// of completes a rejection from its error.
func (r rejection) of(e *Error) rejection {
	r.op, r.status, r.code, r.message = e.Operation, e.Status, e.ErrorCode, e.Message
	return r
}

// lasts reports whether a retry cannot help.
func (r rejection) lasts(e *Error) bool { return r.of(e).wayOut().lasting }

// advise adds the way out to an error; closed says that the repository accepts no writes.
func (r rejection) advise(err error) (advised error, closed bool) {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status == 0 {
		return err, false
	}
	way := r.of(e).wayOut()
	if way.hint == "" {
		return err, false
	}
	better := *e
	better.Hint, better.Lasting = way.hint, e.Lasting || way.lasting
	return &better, way.closed
}

// wayOut tells the user what to do about a refusal.
type wayOut struct {
	hint string
	// lasting is set if a retry cannot help, whatever the status.
	lasting bool
	// closed is set if the repository accepts no writes.
	closed bool
}

// wayOut returns the first way out that fits. The hint is empty if none does.
func (r rejection) wayOut() wayOut {
	put, upload := r.op == "PUT manifest", strings.HasSuffix(r.op, " blob upload")
	foreign := put && r.foreign()
	switch {
	case upload && r.moved() != "":
		return wayOut{hint: fmt.Sprintf("it began the upload in %q: a proxy on the way changes paths, and not Location headers; fix it, or name the registry itself as the target", r.moved()), lasting: true}
	case foreign && r.status == http.StatusInternalServerError && r.code == "UNKNOWN": // distribution's words for a forbidden URL
		return wayOut{hint: "the image has layers by URL, which this registry refuses, with foreignLayers: true as well: allow them there (validation.manifests.urls.allow)", lasting: true}
	case foreign && (r.status == http.StatusBadRequest || r.status == http.StatusNotFound || r.status == http.StatusUnprocessableEntity):
		return wayOut{hint: "the image has layers by URL, and this registry requires their content: set foreignLayers: true"}
	case put && image.IsDocker(r.mediaType) && (r.status == http.StatusUnsupportedMediaType || r.code == "MANIFEST_INVALID"):
		return wayOut{hint: "the image has Docker's media types, and the registry may accept OCI's only: allow them there (zot: http.compat: [docker2s2]), or push the image to its source as OCI"}
	case put && r.status == http.StatusUnsupportedMediaType:
		return wayOut{hint: "the registry accepts no manifests of the type " + wire.Clean(r.mediaType)}
	case put && r.immutable():
		return wayOut{hint: "the tag is immutable there: set moved: refuse, or list it in the mapping's immutable, or let it move there", lasting: true}
	case put && r.status == http.StatusMethodNotAllowed:
		return wayOut{hint: "the tag or the repository is read-only or locked there"}
	case upload && (r.status == http.StatusMethodNotAllowed || r.status == http.StatusForbidden && onlyReads.MatchString(r.message)):
		return wayOut{
			hint:   "the repository accepts no uploads: it is read-only, or a pull-through cache, proxy or virtual repository; use another target",
			closed: true,
		}
	case r.status == http.StatusRequestEntityTooLarge:
		return wayOut{hint: "a proxy in front of the registry limits the size of uploads: raise the limit there (nginx: client_max_body_size 0)"}
	}
	return wayOut{}
}

// onlyReads matches the refusal of all writes, as in Harbor's proxy projects and while it is read-only.
var onlyReads = regexp.MustCompile(`(?i)read[- ]?only|proxy|cache|mirror|virtual repo|remote repo`)

// immutable reports whether the tag exists and may not move. Amazon ECR answers 400 TAG_INVALID, even if the tag holds the manifest; Harbor 412.
func (r rejection) immutable() bool {
	return r.status >= http.StatusBadRequest && r.status < http.StatusInternalServerError && neverMoves.MatchString(r.message)
}

// neverMoves matches the refusal to move a tag.
var neverMoves = regexp.MustCompile(`(?i)\bimmutab(?:le|ility)\b`)

// foreign reports whether the manifest has layers by URL.
func (r rejection) foreign() bool {
	var doc struct {
		Layers []struct {
			MediaType string   `json:"mediaType"`
			URLs      []string `json:"urls"`
		} `json:"layers"`
	}
	_ = json.Unmarshal(r.manifest, &doc) // no layers on an error
	for _, l := range doc.Layers {
		if image.IsForeignLayer(l.MediaType) && len(l.URLs) > 0 {
			return true
		}
	}
	return false
}

// uploadPath is the path of uploads in the distribution spec; a Location may lead anywhere.
var uploadPath = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)

// moved returns the repository in which an upload was begun, if it differs from the requested one and the upload was not found; otherwise
// it is empty.
func (r rejection) moved() string {
	begun := uploadPath.FindStringSubmatch(r.path)
	if r.status != http.StatusBadRequest && r.status != http.StatusForbidden && r.status != http.StatusNotFound && r.status != http.StatusMethodNotAllowed ||
		begun == nil || r.repository == "" || begun[1] == r.repository {
		return ""
	}
	return begun[1]
}
