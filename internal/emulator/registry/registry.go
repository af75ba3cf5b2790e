package registry

import (
	"cmp"
	"encoding/json"
	"net/http"
)

// Options say how a registry behaves. The zero value is an open, strict one without the referrers API.
type Options struct {
	// Referrers answers the referrers API; without it that is 404, and PutReferrer keeps the fallback tag.
	Referrers bool
	// Auth asks for credentials; nil is open to all.
	Auth *Auth
	// PageSize is the most tags or repositories that one answer lists; 0 is no limit but the client's n.
	PageSize int
	// Uploads is how blobs are taken.
	Uploads UploadOptions
	// LaxManifests accepts manifests whose blobs or children are missing in their repository.
	LaxManifests bool
}

// Registry is an OCI registry in memory. All of it is safe for concurrent use.
type Registry struct {
	*Gate
	options Options
	content content
	uploads uploads
	tokens  tokens
}

// New returns an empty registry. It does not listen yet: see Start, StartTLS and Transport.
func New(options Options) *Registry {
	r := &Registry{options: options}
	r.content.repositories = map[string]*repository{}
	r.uploads.open = map[string]*upload{}
	if options.Auth != nil {
		r.tokens.auth = *options.Auth
		r.tokens.auth.TokenPath = cmp.Or(options.Auth.TokenPath, tokenPath)
		r.tokens.granted = map[string]grant{}
	}
	r.Gate = NewGate(http.HandlerFunc(r.route))
	r.Gate.log.tokenPath = r.tokens.auth.TokenPath
	return r
}

// route runs behind the gate.
func (r *Registry) route(w http.ResponseWriter, req *http.Request) {
	to := r.Gate.log.route(req)
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.options.Auth != nil {
		if to.kind == KindToken {
			r.tokens.serve(w, req)
			return
		}
		if challenge := r.tokens.challenge(req, to); challenge != "" {
			w.Header().Set("WWW-Authenticate", challenge)
			fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
			return
		}
	}
	switch to.kind {
	case KindPing:
		reply(w, http.StatusOK, "application/json", []byte("{}"))
	case KindManifest:
		r.serveManifest(w, req, to)
	case KindBlob:
		r.serveBlob(w, req, to)
	case KindUpload:
		r.serveUpload(w, req, to)
	case KindTags:
		r.serveTags(w, req, to)
	case KindCatalog:
		r.serveCatalog(w, req)
	case KindReferrers:
		r.serveReferrers(w, req, to)
	default:
		http.NotFound(w, req)
	}
}

// fail answers with an error in the format of the distribution spec.
func fail(w http.ResponseWriter, status int, code, message string) {
	type problem struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(map[string][]problem{"errors": {{code, message}}})
	if err != nil {
		panic(err) // two strings always encode
	}
	reply(w, status, "application/json", body)
}

// notAllowed answers a method that an endpoint does not have.
func notAllowed(w http.ResponseWriter) {
	fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
}
