package registry

import (
	"encoding/json"
	"net/url"
	"strconv"
)

// quay is the kind of Quay: {"tags": [{"name": TAG, "manifest_digest": DIGEST, …}, …], "has_additional": true}, with numbers of pages. Its API takes
// neither the password of a robot account nor a token of the registry, so that only public repositories are listed.
const quay = "quay"

func quayLister() *lister {
	return &lister{
		kind:     quay,
		signed:   bare,
		perPage:  100,
		numbered: true,
		place: func(path string, page int) (string, url.Values) {
			return "/api/v1/repository/" + path + "/tag/", url.Values{"limit": {"100"}, "page": {strconv.Itoa(page)}, "onlyActiveTags": {"true"}}
		},
		read: func(page *listing, each func(tag, digest string)) (items int, more bool, err error) {
			type tag struct {
				Name   string `json:"name"`
				Digest string `json:"manifest_digest"`
			}
			err = itemsOf(page, []string{"tags"}, func(t tag) { items++; each(t.Name, t.Digest) }, func(key string, dec *json.Decoder) error {
				if key == "has_additional" {
					return dec.Decode(&more)
				}
				return skipValue(dec)
			})
			return items, more && items > 0, err
		},
	}
}
