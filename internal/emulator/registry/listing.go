package registry

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The kinds of listings with digests that registries have of their own; see [ListingOptions].
const (
	GoogleListing = "google"
	ACRListing    = "acr"
	GitLabListing = "gitlab"
	HarborListing = "harbor"
	QuayListing   = "quay"
	ZotListing    = "zot"
	HubListing    = "hub"
)

// ListingOptions say how tags are listed with their digests. The zero value has no such listing.
type ListingOptions struct {
	// Kind is whose listing it is.
	Kind string
	// PageSize is the most items of one answer; 0 is what the kind has.
	PageSize int
	// Alter changes what is listed; nil is the truth.
	Alter func(repository string, tags []ListedTag) []ListedTag
	// Cached lists what a tag held when it was last asked for, as a cache of another registry does, and no tag that never was.
	Cached bool
	// Link, where not empty, replaces the Link of each page that is not the last.
	Link string
	// Proxied says that Harbor's projects are caches of another registry.
	Proxied bool
}

// ListedTag is a tag as a listing shows it.
type ListedTag struct{ Name, Digest, MediaType string }

// listingRoute reads the path of a listing.
func listingRoute(path string) (to route, found bool) {
	between := func(prefix, suffix string) string {
		rest, found := strings.CutPrefix(path, prefix)
		name, ends := strings.CutSuffix(rest, suffix)
		if !found || !ends {
			return ""
		}
		return name
	}
	harbor := strings.Replace(between("/api/v2.0/projects/", "/artifacts"), "/repositories/", "/", 1)
	name := cmp.Or(between("/acr/v1/", "/_tags"), between("/gitlab/v1/repositories/", "/tags/list/"), between("/api/v1/repository/", "/tag/"),
		strings.ReplaceAll(harbor, "%2F", "/"), strings.Replace(between("/v2/namespaces/", "/tags"), "/repositories/", "/", 1), between("/api/v2.0/projects/", ""))
	return route{kind: KindListing, repository: name}, name != "" || path == zotSearch
}

// listingAuth checks the sign-in of a listing, where it differs from that of other requests.
func (r *Registry) listingAuth(w http.ResponseWriter, req *http.Request) (done bool) {
	if r.options.Auth == nil {
		return false
	}
	user, password, signed := req.BasicAuth()
	bearer := strings.HasPrefix(req.Header.Get("Authorization"), "Bearer ")
	switch r.options.Listing.Kind {
	case HarborListing:
		if bearer || signed && !r.tokens.known(user, password) || !signed && !r.tokens.auth.AnonymousPull {
			fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "unauthorized")
			return true
		}
	case QuayListing:
		if bearer || signed || !r.tokens.auth.AnonymousPull {
			reply(w, http.StatusUnauthorized, "application/json", []byte(`{"error_message":"Requires authentication","error_type":"insufficient_scope"}`))
			return true
		}
	}
	return false
}

// signsListing says that a listing is signed in another way than other requests.
func (o ListingOptions) signsListing() bool { return o.Kind == HarborListing || o.Kind == QuayListing }

// listed returns a repository's tags as the listing has them.
func (r *Registry) listed(repository string) (tags []ListedTag, found bool) {
	names, found := r.content.tags(repository)
	for _, name := range names {
		digest, m, _ := r.content.manifest(repository, name)
		if r.options.Listing.Cached {
			asked, ok := r.asked.Load(repository + ":" + name)
			if !ok {
				continue
			}
			digest, _ = asked.(string)
		}
		tags = append(tags, ListedTag{name, digest, m.mediaType})
	}
	if alter := r.options.Listing.Alter; alter != nil {
		tags = alter(repository, tags)
	}
	return tags, found
}

// serveListing answers with a page of a listing.
func (r *Registry) serveListing(w http.ResponseWriter, req *http.Request, to route) {
	kind := r.options.Listing.Kind
	query := req.URL.Query()
	if kind == ZotListing {
		to.repository = zotRepository(query)
	}
	if kind == HarborListing && !strings.Contains(req.URL.Path, "/repositories/") {
		registry := 0
		if r.options.Listing.Proxied {
			registry = 1
		}
		reply(w, http.StatusOK, "application/json", encode(map[string]any{"name": to.repository, "registry_id": registry}))
		return
	}
	tags, found := r.listed(to.repository)
	if !found && kind != ZotListing {
		r.missing(w, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	switch kind {
	case ACRListing:
		page := r.listingPage(w, req, tags, "n", 100, 1000)
		reply(w, http.StatusOK, "application/json", encode(map[string]any{
			"registry": req.Host, "imageName": to.repository, "tags": each(page, func(t ListedTag) any {
				at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
				return map[string]any{"name": t.Name, "digest": digestOrNull(t), "createdTime": at, "lastUpdateTime": at, "signed": false,
					"changeableAttributes": map[string]bool{"deleteEnabled": true, "writeEnabled": true, "readEnabled": true, "listEnabled": true}}
			}),
		}))
	case GitLabListing:
		page := r.listingPage(w, req, tags, "n", 100, 1000)
		reply(w, http.StatusOK, "application/json", encode(each(page, func(t ListedTag) any {
			return map[string]any{"name": t.Name, "digest": digestOrNull(t), "media_type": t.MediaType, "size_bytes": 1, "created_at": "2022-06-07T12:10:12.412+00:00"}
		})))
	case HarborListing:
		r.serveArtifacts(w, query, tags)
	case QuayListing:
		page, more := numbered(tags, query.Get("page"), min(atoi(query.Get("limit"), 50), cmp.Or(r.options.Listing.PageSize, 100)))
		reply(w, http.StatusOK, "application/json", encode(map[string]any{
			"page": atoi(query.Get("page"), 1), "has_additional": more, "tags": each(page, func(t ListedTag) any {
				return map[string]any{"name": t.Name, "reversion": false, "start_ts": 1713749244, "manifest_digest": digestOrNull(t), "is_manifest_list": true, "size": nil,
					"last_modified": "Mon, 22 Apr 2024 01:27:24 -0000"}
			}),
		}))
	case HubListing:
		number := atoi(query.Get("page"), 1)
		if number > 10 {
			reply(w, http.StatusForbidden, "application/json", []byte(`{"message":"pagination offset too large for anonymous requests; sign in to page further","errinfo":{}}`))
			return
		}
		page, more := numbered(tags, query.Get("page"), min(atoi(query.Get("page_size"), 10), cmp.Or(r.options.Listing.PageSize, 100)))
		var next any
		if more {
			next = fmt.Sprintf("https://registry.hub.docker.com/v2/repositories/%s/tags?page=%d", to.repository, number+1)
		}
		reply(w, http.StatusOK, "application/json", encode(map[string]any{"count": len(tags), "next": next, "previous": nil, "results": each(page, func(t ListedTag) any {
			return map[string]any{"name": t.Name, "digest": digestOrNull(t), "media_type": t.MediaType, "tag_status": "active", "images": []any{map[string]any{"digest": digestOrNull(t)}}}
		})}))
	case ZotListing:
		serveZot(w, tags)
	default:
		http.NotFound(w, req)
	}
}

// zotSearch is where zot answers queries, and zotHeader with zotHeaders what all its answers for manifests and tags have.
const (
	zotSearch  = "/v2/_zot/ext/search"
	zotHeader  = "Access-Control-Allow-Headers"
	zotHeaders = "Authorization,content-type,X-ZOT-API-CLIENT"
)

// zotRepository finds the repository in a query for the list of its images.
func zotRepository(query url.Values) string {
	_, rest, _ := strings.Cut(query.Get("query"), `repo:"`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

// serveZot answers as zot does.
func serveZot(w http.ResponseWriter, tags []ListedTag) {
	reply(w, http.StatusOK, "application/json", encode(map[string]any{"data": map[string]any{"ImageList": map[string]any{
		"Results": each(tags, func(t ListedTag) any {
			return map[string]any{"Tag": t.Name, "Digest": t.Digest, "LastUpdated": "2022-10-14T15:29:18.0325322Z", "Size": "30472739"}
		}),
	}}}))
}

// serveArtifacts answers as Harbor does: an item is an image, with all its tags.
func (r *Registry) serveArtifacts(w http.ResponseWriter, query url.Values, tags []ListedTag) {
	var digests []string
	of := map[string][]map[string]any{}
	for _, t := range tags {
		if of[t.Digest] == nil {
			digests = append(digests, t.Digest)
		}
		of[t.Digest] = append(of[t.Digest], map[string]any{"name": t.Name, "immutable": false})
	}
	page, _ := numbered(digests, query.Get("page"), min(atoi(query.Get("page_size"), 10), cmp.Or(r.options.Listing.PageSize, 100)))
	w.Header().Set("X-Total-Count", strconv.Itoa(len(digests)))
	reply(w, http.StatusOK, "application/json", encode(each(page, func(digest string) any {
		return map[string]any{"digest": digest, "type": "IMAGE", "tags": of[digest]}
	})))
}

// serveGoogle answers a request for tags as Google does: with the digests of all tags, and with untagged manifests.
func (r *Registry) serveGoogle(w http.ResponseWriter, to route) {
	tags, found := r.listed(to.repository)
	if !found {
		r.missing(w, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	names, _ := r.content.tags(to.repository)
	type manifest struct {
		ImageSizeBytes string   `json:"imageSizeBytes"`
		LayerID        string   `json:"layerId"`
		Tag            []string `json:"tag"`
		MediaType      string   `json:"mediaType"`
	}
	manifests := map[string]manifest{}
	for _, digest := range r.content.digests(to.repository) {
		_, m, _ := r.content.manifest(to.repository, digest)
		manifests[digest] = manifest{"27735631", "", []string{}, m.mediaType}
	}
	for _, t := range tags {
		m := manifests[t.Digest]
		m.Tag = append(m.Tag, t.Name)
		manifests[t.Digest] = m
	}
	reply(w, http.StatusOK, "application/json", encode(struct {
		Child    []string            `json:"child"`
		Manifest map[string]manifest `json:"manifest"`
		Name     string              `json:"name"`
		Tags     []string            `json:"tags"`
	}{[]string{}, manifests, to.repository, append([]string{}, names...)}))
}

// listingPage returns the page after last=, and links to the next one.
func (r *Registry) listingPage(w http.ResponseWriter, req *http.Request, tags []ListedTag, key string, usual, most int) []ListedTag {
	query := req.URL.Query()
	size := min(atoi(query.Get(key), usual), cmp.Or(r.options.Listing.PageSize, most))
	if last := query.Get("last"); last != "" {
		tags = slices.DeleteFunc(slices.Clone(tags), func(t ListedTag) bool { return t.Name <= last })
	}
	if len(tags) <= size {
		return tags
	}
	query.Set("last", tags[size-1].Name)
	w.Header().Set("Link", cmp.Or(r.options.Listing.Link, fmt.Sprintf(`<%s?%s>; rel="next"`, req.URL.EscapedPath(), query.Encode())))
	return tags[:size]
}

// numbered returns a page by its number, from 1, and whether more follow.
func numbered[T any](list []T, page string, size int) (items []T, more bool) {
	start := min((max(1, atoi(page, 1))-1)*size, len(list))
	end := min(start+size, len(list))
	return list[start:end], end < len(list)
}

func atoi(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return otherwise
}

func digestOrNull(t ListedTag) any {
	if t.Digest == "" {
		return nil
	}
	return t.Digest
}

func each[T any](list []T, of func(T) any) []any {
	all := make([]any, 0, len(list))
	for _, item := range list {
		all = append(all, of(item))
	}
	return all
}
