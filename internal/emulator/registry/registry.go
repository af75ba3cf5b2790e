package registry

import (
	"cmp"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Options say how a registry behaves. The zero value is an open, strict one without the referrers API.
type Options struct {
	// Referrers answers the referrers API; without it that is 404, and PutReferrer keeps the fallback tag.
	Referrers bool
	// Auth asks for credentials; nil is open to all.
	Auth *Auth
	// PageSize is the most tags or repositories that one answer lists; 0 is no limit but the client's n.
	PageSize int
	// Lists is how tags and repositories are listed.
	Lists ListOptions
	// Listing is how tags are listed with their digests.
	Listing ListingOptions
	// Heads is how HEAD of a manifest is answered, and ManifestType, where it is not empty, the Content-Type of a manifest to GET.
	Heads        HeadOptions
	ManifestType string
	// TagsOnly is the status with which a manifest that has a tag is refused by its digest, as by a proxy that knows no digests; 0 is none.
	TagsOnly int
	// Missing is what is said of a manifest or a repository that is not there; nil is the distribution spec's 404.
	Missing *Answer
	// ReferrersAnswer is what the path of the referrers API is answered with, as by registries and proxies that do not know it; nil is as
	// Referrers has it.
	ReferrersAnswer *Answer
	// Store, where set, has the bytes of blobs: the registry redirects there.
	Store *Store
	// Escapes writes &amp; for & into Link, Location and WWW-Authenticate, as a proxy does that escapes HTML.
	Escapes bool
	// Coding encodes manifests, lists and whole blobs, whether or not the client asks for it; empty is none.
	Coding Coding
	// OCIOnly refuses manifests of Docker's media types.
	OCIOnly bool
	// ReadOnly refuses all that writes, as a pull-through cache does.
	ReadOnly bool
	// ImmutableTags refuses to write a tag that there is, even with what it holds, as Amazon ECR does in a repository that is immutable.
	ImmutableTags bool
	// SlowLinks is how long a manifest that is there and is PUT by tag looks broken to who pushes an index with it, as at docker-registry
	// 2.8, which writes the manifest's link anew in its place.
	SlowLinks time.Duration
	// Uploads is how blobs are taken.
	Uploads UploadOptions
	// QuietPuts answers the PUT of a manifest without its digest.
	QuietPuts bool
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
	// asked is what tags held when they were last asked for.
	asked sync.Map
}

// New returns an empty registry. It does not listen yet: see Start, StartTLS and Transport.
func New(options Options) *Registry {
	r := &Registry{options: options}
	r.content.repositories = map[string]*repository{}
	r.uploads.open = map[string]*upload{}
	if options.Auth != nil {
		r.tokens.auth = *options.Auth
		r.tokens.auth.TokenPath = cmp.Or(options.Auth.TokenPath, tokenPath)
		r.tokens.granted, r.tokens.passwords = map[string]grant{}, map[[2]string]time.Time{}
	}
	r.Gate = NewGate(http.HandlerFunc(r.route))
	r.Gate.log.tokenPath = r.tokens.auth.TokenPath
	return r
}

// route runs behind the gate.
func (r *Registry) route(w http.ResponseWriter, req *http.Request) {
	to := r.Gate.log.route(req)
	if r.options.Escapes {
		w = escaping{w}
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.options.Listing.Kind == ZotListing {
		w.Header().Set(zotHeader, zotHeaders)
	}
	if r.options.Auth != nil && (to.kind != KindListing || !r.options.Listing.signsListing()) && !r.admits(w, req, to) {
		return
	}
	if r.options.ReadOnly && req.Method != http.MethodGet && req.Method != http.MethodHead {
		notAllowed(w)
		return
	}
	switch to.kind {
	case KindManifest, KindTags, KindCatalog, KindReferrers, KindBlob:
		if r.options.Coding != "" {
			coded := &codingWriter{ResponseWriter: w, coding: r.options.Coding}
			defer coded.finish(req)
			w = coded
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
		if r.options.Listing.Kind == GoogleListing {
			r.serveGoogle(w, to)
			return
		}
		r.serveTags(w, req, to)
	case KindListing:
		if !r.listingAuth(w, req) {
			r.serveListing(w, req, to)
		}
	case KindCatalog:
		r.serveCatalog(w, req)
	case KindReferrers:
		r.serveReferrers(w, req, to)
	default:
		http.NotFound(w, req)
	}
}

// admits reports whether a request carries what the registry asks for. It answers one that does not, and one for a token.
func (r *Registry) admits(w http.ResponseWriter, req *http.Request, to route) bool {
	switch {
	case r.tokens.givesPasswords(req):
		r.tokens.federate(w, req)
		return false
	case to.kind == KindToken:
		r.tokens.serve(w, req)
		return false
	}
	challenge := r.tokens.challenge(req, to)
	if challenge == "" && r.tokens.auth.PushMakes && !r.content.has(to.repository) && to.repository != "" {
		challenge = r.tokens.unknown(req, to)
	}
	if challenge == "" {
		return true
	}
	if status := r.tokens.auth.PingOnly; status != 0 && to.kind != KindPing {
		fail(w, status, "UNKNOWN", "not found")
		return false
	}
	if r.tokens.auth.Negotiate {
		w.Header().Add("WWW-Authenticate", "Negotiate")
	}
	w.Header().Add("WWW-Authenticate", challenge)
	fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
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
