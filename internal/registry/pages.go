package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/draysync/dray/internal/auth"
	"github.com/draysync/dray/internal/wire"
)

// The limits of one list, over all its pages: bytes read, bytes of the names kept, pages, and time.
const (
	maxListing   = 256 << 20
	maxKept      = 64 << 20
	maxPages     = 10_000
	listDeadline = 30 * time.Minute
	// maxSame limits how many pages may have the same items, since a page may be repeated at a new URL without end. maxEmpty is that for none.
	maxSame, maxEmpty = 3, 32
	// maxItem limits one name, or another item of a list, in bytes.
	maxItem = 1 << 20
)

// pages requests the pages of a list one after another, by the registry's Link headers (OCI distribution spec, "Listing Tags"), and passes
// each to read. If an answer breaks off, it requests the page again and calls read again. Links to other hosts are not followed.
type pages struct {
	endpoint  *endpoint
	operation string
	accept    string // the accepted media type; empty for any
	need      auth.Scope
	// read consumes a page, again if its answer broke off; done is called once a page was read to its end.
	read func(page *listing) error
	done func()
	listLimits
	// send sends a request; nil to send it with the rights that need names.
	send func(*http.Request, wire.Call) (*http.Response, error)
	// turn returns path and query of the next page, and no path after the last; nil to follow the Links.
	turn func() (string, url.Values)
}

// listLimits bound a list; zero fields are the usual limits.
type listLimits struct {
	bytes    int64
	pages    int
	deadline time.Duration
	// once asks for each page once only, since there is another way.
	once bool
}

// listing is a list whose pages are being read.
type listing struct {
	io.Reader
	contentType string
	// total is how many items all pages have, if the answer says so; 0 if not.
	total int
	// held is called with the tags of a digest, if the list names any; nil to skip them.
	held func(tag, digest string)
	// manifests is how many manifests the list has named, tagged or not.
	manifests int
	// items is a hash of the items; nil for none. hashed says that it has them all.
	items  hash.Hash
	hashed bool
}

// note adds an item to the hash.
func (l *listing) note(item string) {
	if l.items == nil {
		l.items = sha256.New()
	}
	_, _ = io.WriteString(l.items, item+"\n") // a hash never fails
}

// pageSums counts pages by a hash of their items; the zero hash is for none.
type pageSums map[[sha256.Size]byte]int

// add reports whether there were too many pages like this one.
func (s pageSums) add(page *listing) (tooMany bool) {
	if !page.hashed {
		return false
	}
	sum, most := [sha256.Size]byte{}, maxEmpty
	if page.items != nil {
		sum, most = [sha256.Size]byte(page.items.Sum(nil)), maxSame
	}
	s[sum]++
	return s[sum] > most
}

// all requests all pages of a list of the distribution spec, with a path below /v2/.
func (p pages) all(ctx context.Context, below string, query url.Values) error {
	return p.from(ctx, "/v2/"+below, query)
}

// from requests all pages of a list.
func (p pages) from(ctx context.Context, first string, query url.Values) error {
	p.bytes, p.pages, p.deadline = cmp.Or(p.bytes, maxListing), cmp.Or(p.pages, maxPages), cmp.Or(p.deadline, listDeadline)
	ctx, cancel := context.WithTimeoutCause(ctx, p.deadline, fmt.Errorf("the list is not complete after %s", p.deadline))
	defer cancel()
	req := p.endpoint.request(ctx, http.MethodGet, "", query, nil)
	req.URL.Path = first
	if p.accept != "" {
		req.Header.Set("Accept", p.accept)
	}
	left, sums := p.bytes, pageSums{}
	seen := map[[sha256.Size]byte]bool{pageOf(req.URL): true} // hashes, since URLs may be long
	for range p.pages {
		resp, page, err := p.page(req, &left)
		if err != nil {
			return err
		}
		p.done()
		next, named, err := p.next(resp)
		if next == nil || err != nil {
			return err
		}
		if seen[pageOf(next)] && !named {
			return nil // a Link to the list itself
		}
		if page.hashed && page.items == nil && pageOf(next) == pageOf(req.URL) {
			return nil // nothing, and nothing else to ask for
		}
		if seen[pageOf(next)] || sums.add(page) {
			return p.endpoint.refused(p.operation, nil, "the list returns to an earlier page")
		}
		seen[pageOf(next)] = true
		req = req.Clone(ctx)
		req.URL = next
	}
	return p.endpoint.refused(p.operation, nil, "the list has more than %d pages", p.pages)
}

func pageOf(u *url.URL) [sha256.Size]byte { return sha256.Sum256([]byte(u.RequestURI())) }

// page requests one page.
func (p pages) page(req *http.Request, left *int64) (resp *http.Response, page *listing, err error) {
	before := *left
	call := wire.Call{Operation: p.operation, Deadline: p.deadline, Once: p.once, Read: func(resp *http.Response) error {
		*left = before
		body, err := wire.Decoded(resp, before)
		if err != nil {
			return err
		}
		total, _ := strconv.Atoi(resp.Header.Get("X-Total-Count"))
		page = &listing{Reader: wire.Ration{Reader: body, Left: left}, contentType: resp.Header.Get("Content-Type"), total: total}
		return p.read(page)
	}}
	if p.send != nil {
		resp, err = p.send(req, call)
	} else {
		resp, err = p.endpoint.auth.Do(req, call, p.need)
	}
	return resp, page, err
}

// next returns the URL of the next page, from the Link header (RFC 8288); nil at the end of the list. It is named if it is said to be the next.
func (p pages) next(resp *http.Response) (next *url.URL, named bool, err error) {
	if p.turn != nil {
		return p.turned(resp.Request.URL), true, nil
	}
	link, named, err := nextLink(resp.Header.Values("Link"), path.Base(resp.Request.URL.Path))
	if link == "" || err != nil {
		if err != nil {
			err = p.endpoint.refused(p.operation, err, "%v", err)
		}
		return nil, false, err
	}
	from := resp.Request.URL
	place, err := from.Parse(link)
	if err != nil {
		return nil, false, p.endpoint.refused(p.operation, nil, "its Link to the next page is not a URL")
	}
	if place, err = p.endpoint.wire.Allowed(place); err != nil {
		return nil, false, p.endpoint.refused(p.operation, err, "%s", wire.Clean(err.Error()))
	}
	if place.Host != from.Host {
		return nil, false, p.endpoint.refused(p.operation, nil, "its Link leads to another host, %s, and is not followed", wire.ShownHost(place.Host))
	}
	if path.Base(place.Path) == path.Base(from.Path) {
		// The list of another repository is none of this one's. Artifactory's Links lack a part of the path (its issue RTFACT-18971).
		place.Path, place.RawPath = from.Path, from.RawPath
	}
	return place, named, nil
}

// turned returns the URL of the next page where pages are numbered; nil at the end of the list.
func (p pages) turned(from *url.URL) *url.URL {
	next, query := p.turn()
	if next == "" {
		return nil
	}
	return &url.URL{Scheme: from.Scheme, Host: p.endpoint.wire.Host(), Path: next, RawQuery: query.Encode()}
}

// nextLink finds the target with the relation "next" among the values of Link (RFC 8288, section 3); empty for none. A list's own path with a
// query and without any relation is the next page, too: nothing else is meant, and the rest of the list would be lost without a word.
func nextLink(values []string, list string) (next string, named bool, err error) {
	for _, value := range values {
		rest := value
		for rest = strings.TrimLeft(rest, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
			if rest[0] != '<' {
				return "", false, errors.New("its Link to the next page cannot be read: a target in angle brackets is missing")
			}
			target, params, ok := strings.Cut(rest[1:], ">")
			if !ok {
				return "", false, errors.New("its Link to the next page cannot be read: an angle bracket is missing")
			}
			relations, after := relationsOf(params)
			if slices.ContainsFunc(strings.Fields(relations), func(r string) bool { return strings.EqualFold(r, "next") }) {
				if target = strings.TrimSpace(target); target == "" {
					return "", false, errors.New("its Link to the next page cannot be read: it is empty")
				}
				return target, true, nil
			}
			if relations == "" && pageOfList(target, list) {
				next = target
			}
			rest = after
		}
	}
	return next, false, nil
}

// pageOfList reports whether a target is the path of a list with a query.
func pageOfList(target, list string) bool {
	place, query, _ := strings.Cut(target, "?")
	return query != "" && (place == "" || path.Base(place) == list)
}

// relationsOf reads the parameters of a link up to the next link, and returns its relations.
func relationsOf(params string) (relations, after string) {
	for {
		params = strings.TrimLeft(params, " \t;")
		if params == "" || params[0] == ',' {
			return relations, params
		}
		end := strings.IndexAny(params, "=;,")
		if end < 0 {
			return relations, ""
		}
		name, value := strings.TrimSpace(params[:end]), ""
		if params[end] != '=' {
			params = params[end:]
			continue
		}
		params = strings.TrimLeft(params[end+1:], " \t")
		if strings.HasPrefix(params, `"`) {
			value, params, _ = strings.Cut(params[1:], `"`)
		} else {
			end := strings.IndexAny(params, ";, \t")
			if end < 0 {
				end = len(params)
			}
			value, params = params[:end], params[end:]
		}
		if strings.EqualFold(name, "rel") && relations == "" {
			relations = value
		}
	}
}

// names streams a page of names: the strings in the array of one field. It skips the rest. A page with neither the field nor the
// repository's name is something else, such as an error.
func (l *listing) names(field string, each func(string) error) error {
	paced := &paced{r: l.Reader}
	dec := json.NewDecoder(paced)
	paced.dec = dec
	token, err := dec.Token()
	if errors.Is(err, io.EOF) && paced.read == 0 {
		return errEmptyAnswer
	}
	if err != nil || token != json.Delim('{') {
		return noList(l, err)
	}
	list := false
	l.hashed = true
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return noList(l, err)
		}
		named, _ := key.(string)
		itself := strings.EqualFold(named, field) // as Go's decoder, and with it Docker, reads names
		list = list || itself || strings.EqualFold(named, "name")
		switch {
		case itself:
			err = textsOf(dec, func(name string) error { l.note(name); return each(name) })
		case key == "manifest" && l.held != nil:
			err = l.manifestsOf(dec)
		default:
			err = skipValue(dec)
		}
		if err != nil {
			return noList(l, err)
		}
	}
	if _, err := dec.Token(); err != nil || !list {
		return noList(l, err)
	}
	return nil
}

// noList describes what is wrong with a page. It leaves an error of a broken answer as it is, so that the page is requested again.
func noList(l *listing, err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err == nil:
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, wire.ErrTooLong), isOurs(err):
		return err
	}
	if strings.Contains(l.contentType, "html") {
		return errors.New("it answered with a web page: a proxy or gateway on the way may require a sign-in")
	}
	return errNoList
}

var errNoList = errors.New("its answer is not a list")

// keptError is an error of the function that receives the names.
type keptError struct{ error }

// Unwrap returns the cause.
func (k keptError) Unwrap() error { return k.error }

func isOurs(err error) bool {
	_, ok := errors.AsType[keptError](err)
	return ok
}

func textsOf(dec *json.Decoder, each func(string) error) error {
	token, err := dec.Token()
	if err != nil || token == nil { // null is an empty list, too
		return err //nolint:wrapcheck // noList describes it
	}
	if token != json.Delim('[') {
		return errors.New("no array")
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err //nolint:wrapcheck // noList describes it
		}
		text, ok := token.(string)
		if !ok {
			return errors.New("no text")
		}
		if err := each(text); err != nil {
			return keptError{err}
		}
	}
	_, err = dec.Token()
	return err //nolint:wrapcheck // noList describes it
}

// maxDepth limits the nesting of a skipped value.
const maxDepth = 100

// skipValue skips a value.
func skipValue(dec *json.Decoder) error { return skipFrom(dec, 0) }

// skipFrom skips the rest of a value, of which that many levels are open.
func skipFrom(dec *json.Decoder, depth int) error {
	for {
		token, err := dec.Token()
		if err != nil {
			return err //nolint:wrapcheck // noList describes it
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
		if depth > maxDepth {
			return wire.ErrTooLong
		}
	}
}

// paced ends a list in which one item is too long.
type paced struct {
	r    io.Reader
	dec  *json.Decoder
	read int64
}

// Read implements io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	if p.read-p.dec.InputOffset() > maxItem {
		return 0, wire.ErrTooLong
	}
	n, err := p.r.Read(b[:min(len(b), maxItem/4)])
	p.read += int64(n)
	return n, err
}

// gathered collects the selected names of a list page by page, since a page may be read twice.
type gathered struct {
	keep  func(string) bool
	names []string
	page  []string
	size  int64
}

func (g *gathered) begin() {
	for _, name := range g.page {
		g.size -= int64(len(name)) + nameCost
	}
	g.page = nil
}

// nameCost is the memory that a name takes beside its letters, in bytes.
const nameCost = 16

func (g *gathered) add(name string) error {
	if !g.keep(name) {
		return nil
	}
	if g.size += int64(len(name)) + nameCost; g.size > maxKept {
		return fmt.Errorf("more than %d MiB of names are selected: %w", maxKept>>20, wire.ErrTooLong)
	}
	g.page = append(g.page, strings.Clone(name))
	return nil
}

func (g *gathered) end() { g.names, g.page = append(g.names, g.page...), nil }
