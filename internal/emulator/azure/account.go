package azure

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The parts of a request in which a secret may travel.
const (
	PartAuthorization = "authorization" // Authorization and X-Ms-Authorization-Auxiliary
	PartHeader        = "header"        // any other header
	PartURL           = "url"
	PartBody          = "body"
)

// Leak is a secret where it does not belong.
type Leak struct {
	Secret string // what kind of secret; never the secret
	Host   string // canonical, not that of a loopback server
	Method string
	Path   string
	Part   string
}

// Account is what the cloud has seen, for tests to judge.
type Account struct {
	// Imports are those that were accepted, in order.
	Imports []Import
	// Started counts them by what they import: SOURCE@DIGEST, or SOURCE:TAG where it was not said by digest.
	Started map[string]int
	// Polls counts questions after imports, Early those of them that came before Retry-After allowed.
	Polls, Early int
	// Highest is the most imports that were under way at a time, by target registry. A stuck one stays under way.
	Highest map[string]int
	// Leaks are secrets that went to a host, or in a part of a request, where they do not belong.
	Leaks []Leak
}

// Account returns what was seen up to now.
func (c *Cloud) Account() Account {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := Account{
		Started: map[string]int{}, Polls: c.polls, Early: c.early,
		Highest: map[string]int{}, Leaks: slices.Clone(c.leaks),
	}
	for _, op := range c.history {
		a.Imports = append(a.Imports, op.snapshot())
		a.Started[op.record.Source]++
	}
	for name, n := range c.highest {
		a.Highest[name] = n
	}
	return a
}

// secret is a value that only some hosts may see.
type secret struct {
	kind    string
	allowed []place
}

// place is a part of requests to a site; the site "registry" is every registry of the cloud.
type place struct{ site, part string }

// anyRegistry is the site of a place that stands for all registries.
const anyRegistry = "registry"

// Protect makes a credential for hosts outside known to the cloud: from then on it may be sent to these hosts, by header
// or in a body, and with an import to the Resource Manager, and is a leak elsewhere.
func (c *Cloud) Protect(kind, value string, hosts ...string) {
	places := []place{{c.options.Domains.Management, PartBody}}
	for _, host := range hosts {
		places = append(places, place{host, PartAuthorization}, place{host, PartBody})
	}
	c.protect(kind, value, places...)
}

func (c *Cloud) protect(kind, value string, places ...place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets[value] = secret{kind, places}
}

// scanned is the longest body that is looked through: tokens travel in short ones.
const scanned = 1 << 20

// inspect looks for secrets in a request to a site, and leaves the request as it was.
func (c *Cloud) inspect(r *http.Request, site string, isRegistry bool) {
	c.look(r, site, isRegistry, PartURL, r.URL.RequestURI(), unescape(r.URL.RequestURI()))
	for name, values := range r.Header {
		part := PartHeader
		if name == "Authorization" || name == "X-Ms-Authorization-Auxiliary" {
			part = PartAuthorization
		}
		for _, value := range values {
			c.look(r, site, isRegistry, part, value, basic(value))
		}
	}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength > scanned || !textual(r.Header.Get("Content-Type")) {
		return
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, scanned))
	rest := io.Reader(r.Body)
	if err != nil {
		rest = failing{err}
	}
	r.Body = body{io.MultiReader(bytes.NewReader(head), rest), r.Body}
	c.look(r, site, isRegistry, PartBody, string(head), unescape(string(head)))
}

// look compares texts with all secrets. A secret in several forms of one part is one leak.
func (c *Cloud) look(r *http.Request, site string, isRegistry bool, part string, texts ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for value, s := range c.secrets {
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, value) }) {
			continue
		}
		if !slices.ContainsFunc(s.allowed, func(p place) bool {
			return p.part == part && (p.site == site || isRegistry && p.site == anyRegistry)
		}) {
			c.leaks = append(c.leaks, Leak{Secret: s.kind, Host: site, Method: r.Method, Path: r.URL.Path, Part: part})
		}
	}
}

// body is a request's body of which a part was read already.
type body struct {
	io.Reader
	io.Closer
}

// failing reads nothing but its error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func unescape(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return plain
}

// basic returns user and password of a header in the form of the Basic scheme, else "".
func basic(header string) string {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return ""
	}
	plain, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return ""
	}
	return string(plain)
}

// textual says whether a body may be JSON or a form.
func textual(contentType string) bool {
	media, _, _ := mime.ParseMediaType(contentType)
	return media == "" || media == "application/json" || strings.HasPrefix(media, "text/") ||
		media == "application/x-www-form-urlencoded"
}
