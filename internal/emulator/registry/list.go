package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

func (r *Registry) serveTags(w http.ResponseWriter, req *http.Request, to route) {
	tags, found := r.content.tags(to.repository)
	if !found {
		fail(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
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
	query := req.URL.Query()
	limit := r.options.PageSize
	if asked := query.Get("n"); asked != "" {
		n, err := strconv.Atoi(asked)
		if err != nil || n < 0 {
			fail(w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n is not a number")
			return
		}
		if limit == 0 || n < limit {
			limit = n
		}
		if n == 0 {
			sorted = nil
		}
	}
	page := sorted
	if last := query.Get("last"); last != "" {
		at, found := slices.BinarySearch(page, last)
		if found {
			at++
		}
		page = page[at:]
	}
	if limit > 0 && len(page) > limit {
		page = page[:limit]
		next := url.Values{"last": {page[limit-1]}, "n": {strconv.Itoa(limit)}}
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, req.URL.Path, next.Encode()))
	}
	body, err := json.Marshal(document(append([]string{}, page...))) // [], not null
	if err != nil {
		panic(err) // strings always encode
	}
	reply(w, http.StatusOK, "application/json", body)
}
