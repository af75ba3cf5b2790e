package scale

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Shape is how the tags are spread: that many mappings, each of a repository with that many tags.
type Shape struct{ Mappings, Tags int }

// total is the number of tags of all repositories.
func (s Shape) total() int { return s.Mappings * s.Tags }

// images are the images of a shape, each made of its number when it is asked for, so that a million take 44 MB. Both sides have the same.
type images struct {
	Shape
	digests []([sha256.Size]byte)
	// byDigest finds the number of an image by the start of its digest.
	byDigest map[uint64]int32
}

func newImages(s Shape) *images {
	all := &images{Shape: s, digests: make([][sha256.Size]byte, s.total()), byDigest: make(map[uint64]int32, s.total())}
	for i := range all.digests {
		all.digests[i] = sha256.Sum256(manifest(i))
		all.byDigest[binary.BigEndian.Uint64(all.digests[i][:])] = int32(i) //nolint:gosec // a few million
	}
	return all
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// manifest is the manifest of the image with that number.
func manifest(i int) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json",`+
		`"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[],"annotations":{"number":"%d"}}`, manifestType, i)
}

func repositoryName(r int) string { return fmt.Sprintf("scale/r%05d", r) }
func tagName(t int) string        { return fmt.Sprintf("v%07d", t) }

// numberOf reads the number in a name of a repository or a tag; -1 for none below most.
func numberOf(name, prefix string, most int) int {
	digits, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n >= most {
		return -1
	}
	return n
}

func (all *images) digest(i int) string { return "sha256:" + hex.EncodeToString(all.digests[i][:]) }

// find returns the number of the image that a tag or digest of a repository leads to; -1 for none.
func (all *images) find(repository int, reference string) int {
	if digits, ok := strings.CutPrefix(reference, "sha256:"); ok {
		raw, err := hex.DecodeString(digits)
		if err != nil || len(raw) != sha256.Size {
			return -1
		}
		i, ok := all.byDigest[binary.BigEndian.Uint64(raw)]
		if !ok || int(i)/all.Tags != repository {
			return -1
		}
		return int(i)
	}
	tag := numberOf(reference, "v", all.Tags)
	if tag < 0 {
		return -1
	}
	return repository*all.Tags + tag
}

// registry serves images on a loopback port. Nothing can be written to it.
type registry struct {
	*images
	// lists says that it lists digests, as zot does.
	lists bool
	host  string

	http                           *http.Server
	heads, pages, listings, others atomic.Int64
	refused                        atomic.Int64
}

// pageOfTags is how many tags one answer lists.
const pageOfTags = 1000

func (all *images) serve(lists bool) (*registry, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return nil, fmt.Errorf("start a registry: %w", err)
	}
	r := &registry{images: all, lists: lists, host: listener.Addr().String()}
	r.http = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go func() { _ = r.http.Serve(listener) }() // always http.ErrServerClosed, from close
	return r, nil
}

func (r *registry) close() { _ = r.http.Close() }

// requests returns how many there were since the last call, and an error if one would have changed something.
func (r *registry) requests() (Requests, error) {
	n := Requests{
		Heads: r.heads.Swap(0), Pages: r.pages.Swap(0), Listings: r.listings.Swap(0), Others: r.others.Swap(0),
	}
	if refused := r.refused.Swap(0); refused > 0 {
		return n, fmt.Errorf("%d requests were to change a registry where nothing has changed", refused)
	}
	return n, nil
}

// Requests are the requests to one registry.
type Requests struct{ Heads, Pages, Listings, Others int64 }

// Total is the sum.
func (n Requests) Total() int64 { return n.Heads + n.Pages + n.Listings + n.Others }

// ServeHTTP answers as a registry does.
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.lists {
		w.Header().Set("Access-Control-Allow-Headers", "Authorization,content-type,X-ZOT-API-CLIENT")
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		r.refused.Add(1)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	if path == "_zot/ext/search" && r.lists {
		r.listings.Add(1)
		r.serveListing(w, req.URL.Query().Get("query"))
		return
	}
	name, rest := cutName(path)
	repository := numberOf(name, "scale/r", r.Mappings)
	switch kind, reference, _ := strings.Cut(rest, "/"); {
	case repository < 0:
		r.others.Add(1)
		w.WriteHeader(http.StatusOK) // a ping
	case kind == "tags":
		r.pages.Add(1)
		r.serveTags(w, req, repository)
	case kind == "referrers":
		r.others.Add(1)
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_, _ = w.Write([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
	case kind == "manifests":
		r.serveManifest(w, req, r.find(repository, reference))
	default:
		r.others.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}
}

// cutName splits a path after the two parts of a repository's name.
func cutName(path string) (name, rest string) {
	slash := strings.IndexByte(path, '/')
	next := strings.IndexByte(path[slash+1:], '/')
	if slash < 0 || next < 0 {
		return path, ""
	}
	return path[:slash+1+next], path[slash+2+next:]
}

func (r *registry) serveManifest(w http.ResponseWriter, req *http.Request, i int) {
	counter := &r.others
	if req.Method == http.MethodHead {
		counter = &r.heads
	}
	counter.Add(1)
	if i < 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body := manifest(i)
	w.Header().Set("Content-Type", manifestType)
	w.Header().Set("Docker-Content-Digest", r.digest(i))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if req.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

func (r *registry) serveTags(w http.ResponseWriter, req *http.Request, repository int) {
	first := 0
	if last := req.URL.Query().Get("last"); last != "" {
		first = numberOf(last, "v", r.Tags) + 1
	}
	end := min(first+pageOfTags, r.Tags)
	if end < r.Tags {
		w.Header().Set("Link", fmt.Sprintf(`<%s?last=%s&n=%d>; rel="next"`, req.URL.Path, tagName(end-1), pageOfTags))
	}
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, `{"name":%q,"tags":[`, repositoryName(repository))
	for t := first; t < end; t++ {
		fmt.Fprintf(out, "%s%q", comma(t > first), tagName(t))
	}
	fmt.Fprint(out, "]}")
	_ = out.Flush()
}

func (r *registry) serveListing(w http.ResponseWriter, query string) {
	_, rest, _ := strings.Cut(query, `repo:"`)
	name, _, _ := strings.Cut(rest, `"`)
	repository := numberOf(name, "scale/r", r.Mappings)
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriter(w)
	fmt.Fprint(out, `{"data":{"ImageList":{"Results":[`)
	for t := 0; repository >= 0 && t < r.Tags; t++ {
		fmt.Fprintf(out, `%s{"Tag":%q,"Digest":%q}`, comma(t > 0), tagName(t), r.digest(repository*r.Tags+t))
	}
	fmt.Fprint(out, "]}}}")
	_ = out.Flush()
}

func comma(there bool) string {
	if there {
		return ","
	}
	return ""
}
