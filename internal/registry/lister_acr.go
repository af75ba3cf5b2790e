package registry

import (
	"net/url"

	"github.com/draysync/dray/internal/auth"
)

// acr is the kind of Azure Container Registry: {"tags": [{"name": TAG, "digest": DIGEST, …}, …]}, with a Link to the next page. A token needs the
// right to read metadata; one to pull is refused.
const acr = "acr"

func acrLister() *lister {
	return &lister{
		kind:    acr,
		perPage: 1000,
		scope:   func(path string) auth.Scope { return auth.Scope("repository:" + path + ":metadata_read") },
		place: func(path string, _ int) (string, url.Values) {
			return "/acr/v1/" + path + "/_tags", url.Values{"n": {"1000"}}
		},
		read: func(page *listing, each func(tag, digest string)) (items int, more bool, err error) {
			err = itemsOf(page, []string{"tags"}, func(t namedDigest) { items++; each(t.Name, t.Digest) }, nil)
			return items, false, err
		},
	}
}

// namedDigest is a tag as several registries list it. A digest of null is an empty one.
type namedDigest struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}
