package registry

import "net/url"

// zot is the kind of zot with its extension search: {"data": {"ImageList": {"Results": [{"Tag": TAG, "Digest": DIGEST}, …]}}}, all in one answer.
const zot = "zot"

func zotLister() *lister {
	return &lister{
		kind: zot,
		place: func(path string, _ int) (string, url.Values) {
			return "/v2/_zot/ext/search", url.Values{"query": {`{ImageList(repo:"` + path + `"){Results{Tag Digest}}}`}}
		},
		read: func(page *listing, each func(tag, digest string)) (items int, more bool, err error) {
			type result struct{ Tag, Digest string }
			err = itemsOf(page, []string{"data", "ImageList", "Results"}, func(r result) { items++; each(r.Tag, r.Digest) }, nil)
			return items, false, err
		},
	}
}
