package registry

import (
	"context"
	"iter"
	"math/bits"
	"net/http"
	"net/url"
	"strings"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/image"
)

// lister is how registries of one kind list tags with their digests. Each kind has a file of its own, with the pure function that reads a page.
type lister struct {
	// kind is its name in the log, in docs and in the store.
	kind string
	// host is another host that lists for the registry; empty for the registry itself.
	host string
	// signed is how its requests are signed.
	signed signing
	// scope is the right that a token needs; nil for the right to pull.
	scope func(path string) auth.Scope
	// perPage is how many items, tags or images, one answer has at most; 0 for all.
	perPage int
	// place returns path and query of a page; the first has the number 1. It returns no path for a repository that cannot be listed.
	place func(path string, page int) (string, url.Values)
	// numbered says that pages are asked for by number, and not by the Link to the next one.
	numbered bool
	// proxied names a document that says whether a repository is a cache of another registry, whose listing is late; nil for no such thing.
	proxied func(path string) (place string, proxies func(document map[string]any) bool)
	// ask asks for a listing that is in no pages of the registry's own, and returns how many items it has; nil to ask for these.
	ask func(ctx context.Context, c *Client, repo image.Repository, most int, each func(tag, digest string)) (items int, err error)
	// read passes what a page says to each, in its order, and returns how many items it has, and whether another page follows if they are numbered.
	read func(page *listing, each func(tag, digest string)) (items int, more bool, err error)
}

// signing is how a request is signed.
type signing int

const (
	// byToken is as other requests to the registry are signed, byPassword with the user's name and password, bare not at all.
	byToken signing = iota
	byPassword
	bare
)

// listers are all that there are.
func listers() []*lister {
	return []*lister{googleLister(), acrLister(), gitlabLister(), harborLister(), quayLister(), zotLister(), ecrLister(), hubLister()}
}

// listerOf returns the lister of a kind; nil for none.
func listerOf(kind string) *lister {
	for _, l := range listers() {
		if l.kind == kind {
			return l
		}
	}
	return nil
}

// kindOfHost returns the kind of lister that a registry's name tells; empty for none.
func kindOfHost(registry string) string {
	host, _, _ := strings.Cut(registry, ":")
	if host == "mirror.gcr.io" { // a cache, which looks elsewhere only if it is asked for a tag
		return ""
	}
	if registry == image.DockerHub {
		return hub
	}
	if host, ok := image.ParseECR(registry); ok && !host.Public {
		return ecr
	}
	for _, known := range []struct{ suffix, kind string }{
		{".gcr.io", google}, {".pkg.dev", google}, {".registry.k8s.io", google},
		{".azurecr.io", acr}, {".azurecr.cn", acr}, {".azurecr.us", acr}, {".quay.io", quay}, {".registry.gitlab.com", gitlab},
	} {
		if strings.HasSuffix("."+host, known.suffix) {
			return known.kind
		}
	}
	return ""
}

// kindOfAnswer returns the kind of lister that the header of any answer of a registry tells; empty for none.
func kindOfAnswer(registry string, header http.Header) string {
	if strings.Contains(header.Get("Access-Control-Allow-Headers"), "X-ZOT-API-CLIENT") {
		return zot
	}
	realm, service := auth.Realm(header)
	switch {
	case realm == nil:
		return ""
	case service == "harbor-registry":
		return harbor
	case service == "container_registry" && strings.HasSuffix(realm.Path, "/jwt/auth"):
		return gitlab
	case service == registry && realm.Path == "/v2/auth":
		return quay
	case service == registry && realm.Path == "/oauth2/token" && header.Get("X-Ms-Correlation-Request-Id") != "":
		return acr
	}
	return ""
}

// recognising is a round tripper that learns from the answers of a registry which kind it is, so that this costs no request.
type recognising struct {
	http.RoundTripper
	host *host
	api  string
}

// RoundTrip sends a request.
func (r recognising) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err == nil && req.URL.Host == r.api && r.host.seen.Load() == nil {
		if kind := kindOfAnswer(r.api, resp.Header); kind != "" {
			r.host.seen.CompareAndSwap(nil, &kind)
		}
	}
	return resp, err //nolint:wrapcheck // as if it were not there
}

// CloseIdleConnections closes unused connections.
func (r recognising) CloseIdleConnections() {
	if next, ok := r.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// positions is a set of positions in a list, which has a bit for each.
type positions []uint64

func (p *positions) add(i int) {
	if missing := i/64 + 1 - len(*p); missing > 0 {
		*p = append(*p, make(positions, missing)...)
	}
	(*p)[i/64] |= 1 << (i % 64)
}

func (p positions) has(i int) bool { return i/64 < len(p) && p[i/64]&(1<<(i%64)) != 0 }

func (p positions) all() iter.Seq[int] {
	return func(yield func(int) bool) {
		for word, set := range p {
			for ; set != 0; set &= set - 1 {
				if !yield(64*word + bits.TrailingZeros64(set)) {
					return
				}
			}
		}
	}
}

// digests gathers what a list says of wanted tags. Its zero value gathers nothing.
type digests struct {
	// wanted are the wanted tags, unless keep says which they are.
	wanted image.TagList
	keep   func(tag string) bool
	// list makes the list of sums, for so many tags.
	list func(n int) image.SumList
	// sums are of the wanted tags, and unsure are positions of those that have to be asked for: a list names several digests, or none that
	// is a valid one of sha256.
	sums   image.SumList
	unsure positions
	// page are the positions that the page that is being read has named.
	page positions
	// said is what a list has said of the tags of keep, and size what that takes.
	said []said
	size int64
}

type said struct {
	tag string
	sum image.Sum
}

// add notes what a tag holds.
func (d *digests) add(tag, digest string) {
	sum := image.SumOf(image.Digest(digest))
	if d.keep == nil {
		if i, found := d.wanted.Find(tag); found {
			d.page.add(i)
			d.put(i, sum)
		}
		return
	}
	if d.keep(tag) && d.size <= maxKept {
		d.said = append(d.said, said{strings.Clone(tag), sum}) // and not all that was read
		d.size += int64(len(tag)+len(sum)) + nameCost
	}
}

func (d *digests) put(i int, sum image.Sum) {
	if d.sums == nil {
		d.sums = d.list(d.wanted.Len())
	}
	before := d.sums.At(i)
	if d.unsure.has(i) || sum == (image.Sum{}) || before != (image.Sum{}) && before != sum {
		d.doubt(i)
		return
	}
	d.sums.Put(i, sum)
}

func (d *digests) doubt(i int) {
	d.sums.Put(i, image.Sum{})
	d.unsure.add(i)
}

// pageRead ends a page. One that breaks off says nothing.
func (d *digests) pageRead(err error) {
	if err != nil {
		for i := range d.page.all() {
			d.doubt(i)
		}
	}
	clear(d.page)
}

// sure returns what is known of the tags; nothing if there was too much.
func (d *digests) sure() *image.Sums {
	if d.keep != nil && d.size <= maxKept {
		tags := make([]string, 0, len(d.said))
		for _, one := range d.said {
			tags = append(tags, one.tag)
		}
		d.wanted = image.NewTagList(tags)
		for _, one := range d.said {
			if i, found := d.wanted.Find(one.tag); found {
				d.put(i, one.sum)
			}
		}
	}
	if d.sums == nil {
		return nil
	}
	return image.NewSums(d.wanted, d.sums)
}

// The estimate of what is cheaper, in HEADs. A request for a page costs the time of two, since nothing runs beside it, and its items the bytes
// of one for each itemsPerHead. assumedItems is the size of a repository that has not been listed yet.
const (
	headsPerPage = 2
	itemsPerHead = 50
	assumedItems = 1000
)

// worth reports whether listing a repository of so many items costs less than a HEAD for each wanted tag; items is 0 if it is not known.
func (l *lister) worth(wanted, items int) bool {
	if items == 0 {
		items = max(assumedItems, wanted)
	}
	requests := 1
	if l.perPage > 0 {
		requests = max(1, (items+l.perPage-1)/l.perPage)
	}
	return requests*headsPerPage+items/itemsPerHead < wanted
}

// maxRequests limits the pages of one listing: beyond that, HEADs would have cost less.
func (l *lister) maxRequests(wanted int) int { return max(1, min(wanted/headsPerPage, maxListedPages)) }

const maxListedPages = 1000
