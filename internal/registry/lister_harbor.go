package registry

import (
	"net/url"
	"strconv"
	"strings"
)

// harbor is the kind of Harbor: [{"digest": DIGEST, "tags": [{"name": TAG}, …]}, …], an item for each image. Its API takes passwords and no tokens,
// and pages have numbers. Signatures and SBOMs, which Harbor calls accessories, are never listed.
const harbor = "harbor"

// harborPage is the most that Harbor lists in one answer.
const harborPage = 100

func harborLister() *lister {
	return &lister{
		kind:     harbor,
		signed:   byPassword,
		perPage:  harborPage,
		numbered: true,
		proxied:  harborProxies,
		place: func(path string, page int) (string, url.Values) {
			project, repository, ok := strings.Cut(path, "/")
			if !ok {
				return "", nil
			}
			// Slashes in the repository's name are encoded twice, of which once is here.
			return "/api/v2.0/projects/" + project + "/repositories/" + strings.ReplaceAll(repository, "/", "%2F") + "/artifacts", url.Values{
				"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(harborPage)}, "q": {"tags=*"}, "with_tag": {"true"}, "with_accessory": {"false"}, "sort": {"-push_time"},
			}
		},
		read: func(page *listing, each func(tag, digest string)) (items int, more bool, err error) {
			type artifact struct {
				Digest string        `json:"digest"`
				Tags   []namedDigest `json:"tags"`
			}
			err = itemsOf(page, nil, func(a artifact) {
				items++
				for _, tag := range a.Tags {
					each(tag.Name, a.Digest)
				}
			}, nil)
			return items, items >= harborPage, err
		},
	}
}

// harborProxies names where Harbor tells whether a project is a cache of another registry, which it lists as far as it has cached it, and how to
// read that.
func harborProxies(path string) (place string, proxies func(document map[string]any) bool) {
	project, _, _ := strings.Cut(path, "/")
	return "/api/v2.0/projects/" + project, func(document map[string]any) bool {
		registry, _ := document["registry_id"].(float64)
		return registry != 0
	}
}
