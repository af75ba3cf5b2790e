package registry

import "net/url"

// gitlab is the kind of GitLab's registry, where it keeps its metadata in a database: [{"name": TAG, "digest": DIGEST, …}, …], with a Link to the
// next page. Without the database it answers 404. The slash at the end is needed.
const gitlab = "gitlab"

func gitlabLister() *lister {
	return &lister{
		kind:    gitlab,
		perPage: 1000,
		place: func(path string, _ int) (string, url.Values) {
			return "/gitlab/v1/repositories/" + path + "/tags/list/", url.Values{"n": {"1000"}}
		},
		read: func(page *listing, each func(tag, digest string)) (items int, more bool, err error) {
			err = itemsOf(page, nil, func(t namedDigest) { items++; each(t.Name, t.Digest) }, nil)
			return items, false, err
		},
	}
}
