package registry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
	"github.com/google/go-cmp/cmp"
)

// ways are those in which a request can reach a gate; faults have to look the same through all of them.
func ways(t *testing.T, r *registry.Registry) map[string]caller {
	socket := registrytest.Start(t, r)
	secure, err := r.StartTLS() // HTTP/2
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(secure.Close)
	plain := &http.Transport{}
	t.Cleanup(plain.CloseIdleConnections)
	return map[string]caller{
		"memory": inMemory(t, r),
		"socket": {tb: t, client: &http.Client{Transport: plain}, url: socket.URL},
		"http2":  {tb: t, client: trusting(t, secure.CA), url: secure.URL},
	}
}

func TestFaults(t *testing.T) {
	data := strings.Repeat("0123456789", 10_000)
	flipped := []byte(data)
	flipped[70_000] ^= 0xff
	type result struct {
		Status int
		Body   string
		Retry  string
		Broken bool
	}
	whole := result{Status: 200, Body: data}
	tests := []struct {
		name  string
		fault registry.Fault
		want  []result // of two requests
	}{
		{"none", registry.Fault{}, []result{whole, whole}},
		{"status always", registry.Fault{Status: 503, Body: "later"}, []result{{Status: 503, Body: "later"}, {Status: 503, Body: "later"}}},
		{"status once", registry.Fault{Status: 429, Times: 1, Header: http.Header{"Retry-After": {"7"}}}, []result{{Status: 429, Retry: "7"}, whole}},
		{"header alone", registry.Fault{Times: 1, Header: http.Header{"Retry-After": {"7"}}}, []result{{Status: 200, Body: data, Retry: "7"}, whole}},
		{"other requests", registry.Fault{Status: 500, Match: registry.MatchKind(http.MethodPut, "")}, []result{whole, whole}},
		{"kind", registry.Fault{Status: 500, Match: registry.MatchKind(http.MethodGet, registry.KindBlob)}, []result{{Status: 500}, {Status: 500}}},
		{"cut", registry.Fault{CutAt: 70_000, Times: 1}, []result{{Status: 200, Body: data[:70_000], Broken: true}, whole}},
		{"cut behind the end", registry.Fault{CutAt: 1 << 20}, []result{whole, whole}},
		{"flip", registry.Fault{FlipByte: 70_001, Times: 1}, []result{{Status: 200, Body: string(flipped)}, whole}},
		{"reset", registry.Fault{Reset: true, Times: 1}, []result{{Broken: true}, whole}},
	}
	for _, test := range tests {
		r := registry.New(registry.Options{})
		digest := r.PutBlob("a", []byte(data))
		for way, c := range ways(t, r) {
			t.Run(test.name+"/"+way, func(t *testing.T) {
				remove := r.Inject(test.fault)
				defer remove()
				for n, want := range test.want {
					var got result
					// A POST is not sent again by itself after a reset, a GET on a kept connection is: start afresh.
					c.client.CloseIdleConnections()
					response, err := c.client.Get(c.url + "/v2/a/blobs/" + digest)
					if err == nil {
						body, readErr := io.ReadAll(response.Body)
						err = errors.Join(readErr, response.Body.Close())
						got = result{Status: response.StatusCode, Body: string(body), Retry: response.Header.Get("Retry-After")}
					}
					got.Broken = err != nil
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("request %d (%v): %.300s", n, err, diff)
					}
				}
			})
		}
	}
}

func TestFaultOrder(t *testing.T) {
	r := registry.New(registry.Options{})
	c := inMemory(t, r)
	r.Inject(registry.Fault{Status: 501, Times: 2})
	remove := r.Inject(registry.Fault{Status: 502})
	r.Inject(registry.Fault{Status: 503})
	var got []int
	ping := func() { got = append(got, c.do(http.MethodGet, "/v2/", "").Status) }
	ping()
	ping()
	ping()
	remove()
	ping()
	if diff := cmp.Diff([]int{501, 501, 502, 503}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFaultCutRequest(t *testing.T) {
	r := registry.New(registry.Options{})
	for way, c := range ways(t, r) {
		t.Run(way, func(t *testing.T) {
			defer r.Inject(registry.Fault{CutRequestAt: 70_000, Match: registry.MatchKind(http.MethodPatch, "")})()
			at := c.do(http.MethodPost, "/v2/a/blobs/uploads/", "").Header.Get("Location")
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, c.url+at, strings.NewReader(strings.Repeat("x", 100_000)))
			if err != nil {
				t.Fatal(err)
			}
			if response, err := c.client.Do(req); err == nil {
				_ = response.Body.Close()
				t.Fatalf("answered %d", response.StatusCode)
			}
			if a := c.do(http.MethodGet, at, ""); a.Header.Get("Range") != "0-69999" {
				t.Errorf("the upload has %s", a.Header.Get("Range"))
			}
		})
	}
}

func TestResetIsAReset(t *testing.T) {
	r := registry.New(registry.Options{})
	r.Inject(registry.Fault{Reset: true})
	ways := ways(t, r)
	for _, way := range []string{"memory", "socket"} {
		_, err := ways[way].client.Get(ways[way].url + "/v2/")
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", way, err)
		}
	}
}

func TestDelayAndHang(t *testing.T) {
	tests := []struct {
		name    string
		fault   registry.Fault
		elapsed time.Duration
		err     error
	}{
		{"delay", registry.Fault{Delay: 3 * time.Second}, 3 * time.Second, nil},
		{"delay and status", registry.Fault{Delay: 3 * time.Second, Status: 200}, 3 * time.Second, nil},
		{"delay beyond the context", registry.Fault{Delay: time.Hour}, time.Minute, context.DeadlineExceeded},
		{"hang", registry.Fault{Hang: true}, time.Minute, context.DeadlineExceeded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := registry.New(registry.Options{})
				r.Inject(test.fault)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://registry.test/v2/", nil)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				response, err := r.Transport().RoundTrip(req)
				if err == nil {
					_ = response.Body.Close()
				}
				if !errors.Is(err, test.err) || time.Since(start) != test.elapsed {
					t.Errorf("got %v after %s, want %v after %s", err, time.Since(start), test.err, test.elapsed)
				}
			})
		})
	}
}

// A hanging upload stops nobody else, and not the clock either.
func TestUploadsAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry.New(registry.Options{})
		c := inMemory(t, r)
		reader, writer := io.Pipe()
		at := c.do(http.MethodPost, "/v2/a/blobs/uploads/", "").Header.Get("Location")
		go func() {
			req, err := http.NewRequest(http.MethodPut, c.url+at+"&digest="+registry.Sum([]byte("slow")), reader)
			if err != nil {
				return
			}
			if response, err := c.client.Do(req); err == nil {
				_ = response.Body.Close()
			}
		}()
		_, _ = io.WriteString(writer, "sl")
		if a := c.upload("a", "fast", registry.Sum([]byte("fast"))); a.Status != http.StatusCreated {
			t.Errorf("second upload: %+v", a)
		}
		time.Sleep(time.Hour)
		_, _ = io.WriteString(writer, "ow")
		_ = writer.Close()
		synctest.Wait()
		if !r.HasBlob("a", registry.Sum([]byte("slow"))) {
			t.Error("the slow upload did not arrive")
		}
	})
}

func TestTransportStreams(t *testing.T) {
	var seen atomic.Value
	gate := registry.NewGate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 2 { // answers each byte before the next can come
			one := make([]byte, 1)
			if _, err := io.ReadFull(r.Body, one); err != nil {
				panic(err)
			}
			_, _ = w.Write(one)
		}
		<-r.Context().Done() // closing the answer's body ends the handler's context
		seen.Store(true)
	}))
	reader, writer := io.Pipe()
	go func() { _, _ = writer.Write([]byte("a")) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://registry.test/", reader)
	if err != nil {
		t.Fatal(err)
	}
	response, err := gate.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2)
	_, _ = io.ReadFull(response.Body, got[:1])
	_, _ = writer.Write([]byte("b"))
	_, _ = io.ReadFull(response.Body, got[1:])
	_ = response.Body.Close()
	_, err = writer.Write([]byte("c")) // returns when the handler did, and its request's body was closed
	if string(got) != "ab" || err == nil || seen.Load() != true {
		t.Errorf("got %q, %v, context ended %v", got, err, seen.Load())
	}
}

func TestTransportShortBody(t *testing.T) {
	gate := registry.NewGate(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("short"))
	}))
	response, err := (&http.Client{Transport: gate.Transport()}).Get("http://registry.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if body, err := io.ReadAll(response.Body); string(body) != "short" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestRequestLog(t *testing.T) {
	r := registry.New(registry.Options{Uploads: registry.UploadOptions{SinglePost: true}})
	c := inMemory(t, r)
	image := mustPush(t, r, "team/app", "v1", registry.MultiArch(1, registry.ImageOptions{}))
	if n := len(r.Requests()); n != 0 {
		t.Errorf("Push made %d requests", n)
	}
	digest := registry.Sum([]byte("layer"))
	c.do(http.MethodGet, "/v2/", "", "Authorization", "Bearer x")
	c.do(http.MethodHead, "/v2/team/app/manifests/v1", "")
	c.do(http.MethodGet, "/v2/team/app/manifests/v1", "")
	c.do(http.MethodPost, "/v2/b/blobs/uploads/?digest="+digest, "layer")
	c.do(http.MethodHead, "/v2/b/blobs/"+digest, "")
	c.do(http.MethodGet, "/v2/b/tags/list?n=1", "")
	c.do(http.MethodGet, "/v2/_catalog", "")
	c.do(http.MethodGet, "/favicon.ico", "")
	got := r.Requests()
	for i := range got {
		if got[i].At.IsZero() {
			t.Error("no time")
		}
		got[i].At = time.Time{}
	}
	want := []registry.Request{
		{Method: "GET", Path: "/v2/", Kind: "ping", Status: 200, BytesOut: 2, Authorization: true},
		{Method: "HEAD", Path: "/v2/team/app/manifests/v1", Kind: "manifest", Repository: "team/app", Reference: "v1", Status: 200},
		{Method: "GET", Path: "/v2/team/app/manifests/v1", Kind: "manifest", Repository: "team/app", Reference: "v1", Status: 200, BytesOut: int64(len(image.Root().Body))},
		{Method: "POST", Path: "/v2/b/blobs/uploads/", Query: "digest=" + digest, Kind: "upload", Repository: "b", Status: 201, BytesIn: 5},
		{Method: "HEAD", Path: "/v2/b/blobs/" + digest, Kind: "blob", Repository: "b", Reference: digest, Status: 200},
		{Method: "GET", Path: "/v2/b/tags/list", Query: "n=1", Kind: "tags", Repository: "b", Status: 200, BytesOut: 22},
		{Method: "GET", Path: "/v2/_catalog", Kind: "catalog", Status: 200, BytesOut: 33},
		{Method: "GET", Path: "/favicon.ico", Kind: "other", Status: 404, BytesOut: 19},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := r.Count(func(r registry.Request) bool { return r.Method == http.MethodHead }); n != 2 {
		t.Errorf("Count: %d", n)
	}
	r.Reset()
	if n := len(r.Requests()); n != 0 {
		t.Errorf("%d requests after Reset", n)
	}
}

func TestFaultBeforeAndAfter(t *testing.T) {
	r := registry.New(registry.Options{})
	socket := registrytest.Start(t, r)
	image := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{})
	var seen []string
	see := func() { seen = append(seen, r.Digest("a", "v1")) }
	r.Inject(registry.Fault{Match: registry.MatchKind(http.MethodPut, registry.KindManifest), Before: see, After: see})
	if err := image.PushTo(t.Context(), http.DefaultClient, socket.URL, "a", "v1"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", image.Digest}, seen); diff != "" {
		t.Error(diff)
	}
}
