package registry

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy is a reverse proxy for one registry, behind a gate: it counts, slows down and breaks what passes. Bodies stream,
// and connections to the registry are kept.
type Proxy struct {
	*Gate
	listing atomic.Pointer[func(repository string) []ListedTag]
}

// List has the proxy answer as a zot that lists the tags which list returns for a repository; nil is as the registry answers.
func (p *Proxy) List(list func(repository string) []ListedTag) {
	if list == nil {
		p.listing.Store(nil)
		return
	}
	p.listing.Store(&list)
}

// listed serves listings, and passes everything else on to next.
func (p *Proxy) listed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		list := p.listing.Load()
		if list == nil {
			next.ServeHTTP(w, req)
			return
		}
		w.Header().Set(zotHeader, zotHeaders)
		if req.URL.Path == zotSearch {
			serveZot(w, (*list)(zotRepository(req.URL.Query())))
			return
		}
		next.ServeHTTP(w, req)
	})
}

// NewProxy returns a proxy for the registry at a URL like "http://127.0.0.1:5000"; latency is added to every request,
// before it is passed on. The client's Host header is kept and a Location that names the registry's host is rewritten,
// so that clients stay with the proxy.
func NewProxy(registryURL string, latency time.Duration) (*Proxy, error) {
	target, err := url.Parse(registryURL)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if target.Scheme == "" || target.Host == "" {
		return nil, fmt.Errorf("proxy: %q is not a URL with a scheme and a host", registryURL)
	}
	proxy := &Proxy{}
	proxy.Gate = NewGate(proxy.listed(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.Out = r.Out.WithContext(context.WithValue(r.Out.Context(), askedKey{}, r.In))
		},
		ModifyResponse: func(response *http.Response) error { return stay(response, target) },
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 1024,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		},
		BufferPool: &buffers{},
		ErrorLog:   log.New(io.Discard, "", 0),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}))
	proxy.latency = latency
	return proxy, nil
}

// askedKey finds the client's request in the context of the proxy's own.
type askedKey struct{}

// stay rewrites a Location that leads around the proxy.
func stay(response *http.Response, target *url.URL) error {
	location, err := response.Location()
	if err != nil {
		return nil //nolint:nilerr // there is none, or it is for the client to complain about
	}
	asked, found := response.Request.Context().Value(askedKey{}).(*http.Request)
	if !found || location.Host != target.Host && location.Host != asked.Host {
		return nil
	}
	location.Scheme, location.Host = "http", asked.Host
	if asked.TLS != nil {
		location.Scheme = "https"
	}
	response.Header.Set("Location", location.String())
	return nil
}

// buffers keeps copy buffers between requests.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if kept, ok := b.pool.Get().(*[]byte); ok {
		return *kept
	}
	return make([]byte, 64<<10)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }
