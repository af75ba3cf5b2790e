package registry

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ListOptions say how tags and repositories are listed. The zero value is as the distribution spec has it: in the order of bytes, with
// relative Links that name the last of the page.
type ListOptions struct {
	// Compare orders names; nil is the order of bytes. See [PathOrder] and [ReverseOrder].
	Compare func(a, b string) int
	// Opaque names the next page by a token that says nothing, as Quay does, and takes no last=.
	Opaque bool
	// Absolute Links have scheme and host.
	Absolute bool
	// Link, where not empty, replaces the Link of each page that is not the last.
	Link string
	// NoRelation leaves rel="next" out of Links.
	NoRelation bool
	// Itself links each list that has no next page to itself, without a relation.
	Itself bool
	// Circle links the last page to the first.
	Circle bool
	// Clamp is the most that n= gets, silently; 0 is no limit.
	Clamp int
}

// PathOrder is the order in which docker-registry 2.8 walks repositories: what lies below a name comes before the names that go on from it, so
// "/" before "-".
func PathOrder(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) }

// ReverseOrder is that of bytes from the end, as of registries that list what is new first.
func ReverseOrder(a, b string) int { return strings.Compare(b, a) }

func (r *Registry) serveTags(w http.ResponseWriter, req *http.Request, to route) {
	tags, found := r.content.tags(to.repository)
	if !found {
		r.missing(w, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	r.servePage(w, req, tags, func(page []string) any {
		return struct {
			Name string   `json:"name"`
			Tags []string `json:"tags"`
		}{to.repository, page}
	})
}

func (r *Registry) serveCatalog(w http.ResponseWriter, req *http.Request) {
	r.servePage(w, req, r.content.names(), func(page []string) any {
		return struct {
			Repositories []string `json:"repositories"`
		}{page}
	})
}

// servePage answers with what follows last=, at most n= and PageSize of it, and links to the next page.
func (r *Registry) servePage(w http.ResponseWriter, req *http.Request, sorted []string, document func([]string) any) {
	if req.Method != http.MethodGet {
		notAllowed(w)
		return
	}
	lists := r.options.Lists
	compare := lists.Compare
	if compare == nil {
		compare = strings.Compare
	}
	slices.SortFunc(sorted, compare)
	limit, ok := r.pageLimit(req.URL.Query())
	if !ok {
		fail(w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n is not a number")
		return
	}
	page := sorted[lists.start(req.URL.Query(), sorted, compare):]
	if limit == 0 {
		page = nil
	}
	rest := limit > 0 && len(page) > limit
	if rest {
		page = page[:limit]
	}
	if lists.Itself && !rest {
		w.Header().Set("Link", "<"+req.URL.RequestURI()+">")
	}
	if rest || lists.Circle {
		w.Header().Set("Link", lists.next(req, page, limit, rest))
	}
	body, err := json.Marshal(document(append([]string{}, page...))) // [], not null
	if err != nil {
		panic(err) // strings always encode
	}
	reply(w, http.StatusOK, "application/json", body)
}

// pageLimit returns how many names a page may have, negative for all; false where n= is no number.
func (r *Registry) pageLimit(query url.Values) (limit int, ok bool) {
	limit = r.options.PageSize
	if limit == 0 {
		limit = -1
	}
	if !query.Has("n") {
		return limit, true
	}
	n, err := strconv.Atoi(query.Get("n"))
	if err != nil || n < 0 {
		return 0, false
	}
	if most := r.options.Lists.Clamp; most > 0 {
		n = min(n, most)
	}
	if limit < 0 || n < limit {
		limit = n
	}
	return limit, true
}

// start returns where the page begins that is asked for.
func (o ListOptions) start(query url.Values, sorted []string, compare func(a, b string) int) int {
	last := query.Get("last")
	if o.Opaque {
		raw, _ := base64.RawURLEncoding.DecodeString(query.Get("next_page")) // a token that is not ours begins anew
		last, _ = strings.CutPrefix(string(raw), "after ")
	}
	if last == "" {
		return 0
	}
	at, found := slices.BinarySearchFunc(sorted, last, compare)
	if found {
		at++
	}
	return at
}

// next returns the Link of a page.
func (o ListOptions) next(req *http.Request, page []string, limit int, rest bool) string {
	if rest && o.Link != "" {
		return o.Link
	}
	query := url.Values{}
	if limit > 0 {
		query.Set("n", strconv.Itoa(limit))
	}
	switch {
	case !rest: // a circle
	case o.Opaque:
		query.Set("next_page", base64.RawURLEncoding.EncodeToString([]byte("after "+page[len(page)-1])))
	default:
		query.Set("last", page[len(page)-1])
	}
	from := ""
	if o.Absolute {
		from = "http://" + req.Host
		if req.TLS != nil {
			from = "https://" + req.Host
		}
	}
	link := fmt.Sprintf(`<%s%s?%s>`, from, req.URL.Path, query.Encode())
	if o.NoRelation {
		return link
	}
	return link + `; rel="next"`
}
