package registry

import (
	"encoding/json"
	"errors"
	"net/url"
)

// google is the kind of Artifact Registry, Container Registry and registry.k8s.io, whose list of tags itself has the digests, in one answer:
// {"manifest": {DIGEST: {"tag": [TAG, …], …}, …}, "tags": [TAG, …]}. Without n some accounts got the first 1,000 only. registry.k8s.io redirects
// to a region, and drops the query.
const google = "google"

func googleLister() *lister {
	return &lister{
		kind: google,
		place: func(path string, _ int) (string, url.Values) {
			return "/v2/" + path + "/tags/list", url.Values{"n": {"10000"}}
		},
		read: func(page *listing, each func(tag, digest string)) (items int, more bool, err error) {
			page.held = each
			err = page.names("tags", func(string) error { items++; return nil })
			return max(items, page.manifests), false, err
		},
	}
}

// manifestsOf reads the field "manifest" of Google's list of tags, and skips one that is something else.
func (l *listing) manifestsOf(dec *json.Decoder) error {
	token, err := dec.Token()
	switch {
	case err != nil:
		return err //nolint:wrapcheck // noList describes it
	case token == json.Delim('['):
		return skipFrom(dec, 1)
	case token != json.Delim('{'):
		return nil
	}
	for dec.More() {
		digest, err := dec.Token()
		if err != nil {
			return err //nolint:wrapcheck // noList describes it
		}
		l.manifests++
		var manifest struct {
			Tag []string `json:"tag"`
		}
		if err := dec.Decode(&manifest); err != nil {
			if _, other := errors.AsType[*json.UnmarshalTypeError](err); other {
				continue // it was read to its end, and is not of Google's form
			}
			return err //nolint:wrapcheck // noList describes it
		}
		for _, tag := range manifest.Tag {
			l.held(tag, digest.(string)) // keys are texts
		}
	}
	_, err = dec.Token()
	return err //nolint:wrapcheck // noList describes it
}
