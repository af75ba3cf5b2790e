package registry

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// hub is the kind of Docker Hub's own API, at a host of its own: {"results": [{"name": TAG, "digest": DIGEST, …}, …], "next": URL}, with numbers
// of pages. It is late by minutes to hours, so that it is used only where the config says so, and shows those who have not signed in the 1,000
// tags that moved last.
const hub = "hub"

const (
	hubHost  = "hub.docker.com"
	hubPages = 10
)

func hubLister() *lister {
	return &lister{
		kind:     hub,
		host:     hubHost,
		signed:   bare,
		perPage:  100,
		numbered: true,
		place: func(path string, page int) (string, url.Values) {
			namespace, name, ok := strings.Cut(path, "/")
			if !ok || page > hubPages {
				return "", nil
			}
			return "/v2/namespaces/" + namespace + "/repositories/" + name + "/tags",
				url.Values{"ordering": {"last_updated"}, "page": {strconv.Itoa(page)}, "page_size": {"100"}}
		},
		read: func(page *listing, each func(tag, digest string)) (items int, more bool, err error) {
			var next string
			err = itemsOf(page, []string{"results"}, func(t namedDigest) { items++; each(t.Name, t.Digest) }, func(key string, dec *json.Decoder) error {
				if key == "next" {
					return dec.Decode(&next)
				}
				return skipValue(dec)
			})
			return items, next != "", err
		},
	}
}
