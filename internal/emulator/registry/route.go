package registry

import "strings"

// The kinds of request that a log tells apart, see [Request].
const (
	KindManifest  = "manifest"
	KindBlob      = "blob"
	KindUpload    = "upload" // every step of it, a mount too: its Query has mount=
	KindTags      = "tags"
	KindCatalog   = "catalog"
	KindReferrers = "referrers"
	KindToken     = "token"
	KindPing      = "ping"
	KindListing   = "listing" // tags with digests, beside the distribution API
	KindOther     = "other"   // no endpoint of the distribution API
)

// tokenPath is where a registry's own token endpoint is, unless its Auth says otherwise.
const tokenPath = "/token"

// route is what a path asks for.
type route struct {
	kind       string
	repository string
	reference  string // tag, digest or upload id; may be empty
}

// parseRoute reads paths from the end: a repository may have a component called "manifests" or "blobs".
func parseRoute(path string) route {
	switch path {
	case tokenPath:
		return route{kind: KindToken}
	case "/v2", "/v2/":
		return route{kind: KindPing}
	case "/v2/_catalog":
		return route{kind: KindCatalog}
	}
	if to, found := listingRoute(path); found {
		return to
	}
	rest, found := strings.CutPrefix(path, "/v2/")
	if !found {
		return route{kind: KindOther}
	}
	if name, found := strings.CutSuffix(rest, "/tags/list"); found {
		return route{kind: KindTags, repository: name}
	}
	if name, found := strings.CutSuffix(strings.TrimSuffix(rest, "/"), "/blobs/uploads"); found {
		return route{kind: KindUpload, repository: name}
	}
	rest, reference := cutLast(rest)
	if name, found := strings.CutSuffix(rest, "/blobs/uploads"); found {
		return route{kind: KindUpload, repository: name, reference: reference}
	}
	kinds := map[string]string{"manifests": KindManifest, "blobs": KindBlob, "referrers": KindReferrers}
	name, noun := cutLast(rest)
	if kind, known := kinds[noun]; known && name != "" && reference != "" {
		return route{kind: kind, repository: name, reference: reference}
	}
	return route{kind: KindOther}
}

// cutLast splits at the last slash.
func cutLast(path string) (before, after string) {
	at := strings.LastIndexByte(path, '/')
	if at < 0 {
		return "", path
	}
	return path[:at], path[at+1:]
}
