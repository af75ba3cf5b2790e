package registry

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// UploadOptions say how a registry takes blobs. The zero value is as the distribution project does, but for that it can go on
// with what broke off.
type UploadOptions struct {
	// SinglePost takes a blob that comes with the POST which starts its upload.
	SinglePost bool
	// Plain answers with Locations other than those of the distribution project's registry.
	Plain bool
	// MaxBody is the most bytes that a request may carry, as a proxy before a registry has it; more is answered 413. 0 is no limit.
	MaxBody int64
	// ResetTooLarge closes the connection within the body instead of the answer 413, as a proxy does that does not wait for the client.
	ResetTooLarge bool
	// MinChunk is announced as OCI-Chunk-Min-Length; a PATCH with less is refused. 0 is none.
	MinChunk int64
	// OnlyLastPatch keeps of several PATCHes the last one.
	OnlyLastPatch bool
	// LostAnswers is to how many PUTs that have brought a blob a gateway before the registry says 504 in the place of its 201.
	LostAnswers int
	// ResumeFails answers 500 to what goes on with an upload of which a request broke off.
	ResumeFails bool
	// RangeAhead says in Range how many bytes there are, where the last one's position belongs.
	RangeAhead bool
	// FalseMounts answers 201 to each mount, with the Location that this returns for a repository and a digest, and mounts nothing.
	FalseMounts func(repository, digest string) string
	// MountStatus is what each mount is answered with, without a Location; 0 is none.
	MountStatus int
	// Drops says of each blob whose bytes came that it is stored, by its digest, and keeps nothing.
	Drops bool
	// Late has HEAD and GET find a blob once a manifest of its repository names it.
	Late bool
	// Forgetful drops an upload of which a request broke off.
	Forgetful bool
	// LateBytes is how many of the last bytes of a request that broke off are written only at the end of its upload.
	LateBytes int
}

// uploads are the blobs under way.
type uploads struct {
	mu   sync.Mutex
	open map[string]*upload
	lost int // answers that a gateway has lost
}

// upload is guarded by the lock of uploads, which is not held while its bytes arrive.
type upload struct {
	repository string
	data       []byte
	broke      bool // a request of it did
	late       []byte
}

// start returns the id of a new upload.
func (u *uploads) start(repository string) (id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	id = rand.Text()
	u.open[id] = &upload{repository: repository}
	return id
}

// size says how many bytes an upload has.
func (u *uploads) size(to route) (size int64, found bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	up, found := u.open[to.reference]
	if !found || up.repository != to.repository {
		return 0, false
	}
	return int64(len(up.data)), true
}

// add appends to an upload, or replaces what it has, and returns all there is.
func (u *uploads) add(id string, data []byte, replace bool) (all []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	up, found := u.open[id]
	if !found {
		return nil
	}
	if len(up.data) == 0 || replace && len(data) > 0 {
		up.data = data // most uploads come in one piece, which then need not be copied
	} else {
		up.data = append(up.data, data...)
	}
	return up.data
}

// postpone keeps the bytes of a request that broke off until the end of its upload.
func (u *uploads) postpone(id string, data []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if up, found := u.open[id]; found {
		up.late = append(up.late, data...)
	}
}

// postponed returns what was kept until now.
func (u *uploads) postponed(id string) (data []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if up, found := u.open[id]; found {
		data, up.late = up.late, nil
	}
	return data
}

// broken tells whether a request of an upload broke off.
func (u *uploads) broken(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	up, found := u.open[id]
	return found && up.broke
}

// losesAnswer tells whether the answer to a PUT is one of those that get lost, and counts it.
func (u *uploads) losesAnswer(most int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lost >= most {
		return false
	}
	u.lost++
	return true
}

func (u *uploads) breaks(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if up, found := u.open[id]; found {
		up.broke = true
	}
}

func (u *uploads) drop(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, id)
}

// serveUpload answers POST (start, mount, or all at once), PATCH, PUT, GET (how far) and DELETE (give up).
func (r *Registry) serveUpload(w http.ResponseWriter, req *http.Request, to route) {
	if most := r.options.Uploads.MaxBody; most > 0 && req.ContentLength > most {
		if r.options.Uploads.ResetTooLarge {
			_, _ = io.CopyN(io.Discard, req.Body, min(most, 64<<10)) // it begins, so that the client is within its body
			reset(w)
			return
		}
		fail(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID", "the request is too large")
		return
	}
	if req.Method == http.MethodPost && to.reference == "" {
		r.startUpload(w, req, to)
		return
	}
	have, found := r.uploads.size(to)
	if !found {
		fail(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
		return
	}
	if r.options.Uploads.ResumeFails && req.Method != http.MethodGet && req.Method != http.MethodDelete && r.uploads.broken(to.reference) {
		fail(w, http.StatusInternalServerError, "UNKNOWN", "offset mismatch")
		return
	}
	switch req.Method {
	case http.MethodGet:
		r.uploadHeader(w, to, have)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPatch:
		r.continueUpload(w, req, to, have)
	case http.MethodPut:
		r.finishUpload(w, req, to)
	case http.MethodDelete:
		r.uploads.drop(to.reference)
		w.WriteHeader(http.StatusNoContent)
	default:
		notAllowed(w)
	}
}

func (r *Registry) startUpload(w http.ResponseWriter, req *http.Request, to route) {
	query := req.URL.Query()
	if status := r.options.Uploads.MountStatus; status != 0 && query.Has("mount") {
		w.WriteHeader(status)
		return
	}
	if where := r.options.Uploads.FalseMounts; where != nil && query.Has("mount") {
		if location := where(to.repository, query.Get("mount")); location != "" {
			w.Header().Set("Location", location)
		}
		w.WriteHeader(http.StatusCreated)
		return
	}
	if digest := query.Get("mount"); digest != "" && r.content.mount(query.Get("from"), to.repository, digest) {
		created(w, to.repository, "blobs", digest)
		return
	}
	to.reference = r.uploads.start(to.repository)
	if least := r.options.Uploads.MinChunk; least > 0 {
		w.Header().Set("OCI-Chunk-Min-Length", strconv.FormatInt(least, 10))
	}
	if query.Get("digest") != "" && r.options.Uploads.SinglePost {
		r.finishUpload(w, req, to)
		return
	}
	r.uploadHeader(w, to, 0)
	w.WriteHeader(http.StatusAccepted)
}

func (r *Registry) continueUpload(w http.ResponseWriter, req *http.Request, to route, have int64) {
	if span := req.Header.Get("Content-Range"); span != "" {
		var first, last int64
		_, err := fmt.Sscanf(strings.TrimPrefix(span, "bytes "), "%d-%d", &first, &last)
		if err != nil || first != have {
			r.uploadHeader(w, to, have)
			fail(w, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", "the range does not continue the upload")
			return
		}
	}
	data, err := readBody(req)
	if least := r.options.Uploads.MinChunk; err == nil && have == 0 && int64(len(data)) < least {
		fail(w, http.StatusRequestedRangeNotSatisfiable, "SIZE_INVALID", "the chunk is too small")
		return
	}
	if err != nil {
		r.broke(w, to, data, err)
		return
	}
	all := r.uploads.add(to.reference, data, r.options.Uploads.OnlyLastPatch)
	r.uploadHeader(w, to, int64(len(all)))
	w.WriteHeader(http.StatusAccepted)
}

func (r *Registry) finishUpload(w http.ResponseWriter, req *http.Request, to route) {
	data, err := readBody(req)
	if err != nil {
		r.broke(w, to, data, err)
		return
	}
	all := r.uploads.add(to.reference, append(data, r.uploads.postponed(to.reference)...), false)
	digest := req.URL.Query().Get("digest")
	if Sum(all) != digest {
		fail(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
		return
	}
	r.uploads.drop(to.reference)
	if !r.options.Uploads.Drops {
		r.content.putBlob(to.repository, digest, all)
	}
	if r.uploads.losesAnswer(r.options.Uploads.LostAnswers) {
		reply(w, http.StatusGatewayTimeout, "text/html", []byte("<h1>504 Gateway Time-out</h1>"))
		return
	}
	created(w, to.repository, "blobs", digest)
}

// broke answers a request whose body did after these bytes. An upload can be resumed after it.
func (r *Registry) broke(w http.ResponseWriter, to route, data []byte, err error) {
	split := max(0, len(data)-r.options.Uploads.LateBytes)
	r.uploads.add(to.reference, data[:split], r.options.Uploads.OnlyLastPatch)
	r.uploads.postpone(to.reference, data[split:])
	r.uploads.breaks(to.reference)
	if r.options.Uploads.Forgetful {
		r.uploads.drop(to.reference)
	}
	fail(w, http.StatusBadRequest, "BLOB_UPLOAD_INVALID", err.Error())
}

// uploadHeader says where to go on and how far it is. The query is there, as with docker-registry, so that a client
// which appends "?digest=" to a Location is found out.
func (r *Registry) uploadHeader(w http.ResponseWriter, to route, have int64) {
	query := "?_state="
	if r.options.Uploads.Plain {
		query = "?session="
	}
	w.Header().Set("Location", "/v2/"+to.repository+"/blobs/uploads/"+to.reference+query+to.reference)
	w.Header().Set("Docker-Upload-Uuid", to.reference)
	last := max(0, have-1)
	if r.options.Uploads.RangeAhead {
		last = have
	}
	w.Header().Set("Range", fmt.Sprintf("0-%d", last))
}

// created answers 201 for a blob or a manifest.
func created(w http.ResponseWriter, repository, noun, digest string) {
	w.Header().Set("Location", "/v2/"+repository+"/"+noun+"/"+digest)
	w.Header().Set("Docker-Content-Digest", digest)
	w.WriteHeader(http.StatusCreated)
}

// readBody reads all, without growing step by step where the length is known and not absurd.
func readBody(req *http.Request) ([]byte, error) {
	var buffer bytes.Buffer
	if n := req.ContentLength; n > 0 && n < 1<<30 {
		buffer.Grow(int(n) + bytes.MinRead)
	}
	_, err := io.Copy(&buffer, req.Body)
	return buffer.Bytes(), err
}
