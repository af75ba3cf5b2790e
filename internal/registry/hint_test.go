package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	emulator "github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/image"
)

// refusal bodies as registries send them.
const (
	distributionURLs = `{"errors":[{"code":"UNKNOWN","message":"unknown error"},{"code":"UNKNOWN","message":"unknown error","detail":"invalid URL on layer"}]}`
	zotBlobUnknown   = `{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry","detail":{}}]}`
	zotMediaType     = `{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid","detail":{}}]}`
	cacheUnsupported = `{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}`
	harborProxy      = `{"errors":[{"code":"DENIED","message":"can not push artifact to a proxy project: \"hub\""}]}`
	quayReadOnly     = `{"errors":[{"code":"DENIED","detail":{},"message":"System is currently read-only. Pulls will succeed but all write operations are currently suspended."}]}`
	acrLocked        = `{"errors":[{"code":"REGISTRY_DISALLOWED_OPERATION","message":"The operation is disallowed."}]}`
	forbidden        = `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`
	nginxTooLarge    = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>\r\n"
	harborImmutable  = `{"errors":[{"code":"PRECONDITION","message":"Failed to process request due to 'app:v1' configured as immutable."}]}`
	noSpace          = `{"errors":[{"code":"UNKNOWN","message":"write /data/x: no space left on device"}]}`
)

// TestWaysOut holds what a person reads where a registry refuses a write, and that it is asked once.
func TestWaysOut(t *testing.T) {
	docker := emulator.ImageOptions{Docker: true}
	foreign := emulator.ImageOptions{Foreign: true}
	cases := map[string]struct {
		image  emulator.ImageOptions
		status int
		body   string
		// blob is set where the upload of a blob is refused, else that of a manifest is.
		blob bool
		// asked is how often at the most; 0 for once, or twice where an upload is begun, since a mount may be refused where an upload is not.
		asked     int
		temporary bool
		want      string
	}{
		"layers by URL, distribution": {image: foreign, status: 500, body: distributionURLs,
			want: "PUT manifest: 192.0.2.1 answered 500 Internal Server Error: unknown error; the image has layers by URL, which this registry refuses, with foreignLayers: true as well: allow them there (validation.manifests.urls.allow)"},
		"layers by URL, zot": {image: foreign, status: 400, body: zotBlobUnknown,
			want: "PUT manifest: 192.0.2.1 answered 400 Bad Request: BLOB_UNKNOWN blob unknown to registry; the image has layers by URL, and this registry requires their content: set foreignLayers: true"},
		"layers by URL, and another fault": {image: foreign, status: 500, asked: 5, temporary: true,
			want: "PUT manifest: 192.0.2.1 answered 500 Internal Server Error (5 attempts)"},
		"no layers by URL": {status: 500, body: distributionURLs, asked: 5, temporary: true,
			want: "PUT manifest: 192.0.2.1 answered 500 Internal Server Error: unknown error (5 attempts)"},
		"Docker's media types, zot": {image: docker, status: 415, body: zotMediaType,
			want: "PUT manifest: 192.0.2.1 answered 415 Unsupported Media Type: MANIFEST_INVALID manifest invalid; the image has Docker's media types, and the registry may accept OCI's only: allow them there (zot: http.compat: [docker2s2]), or push the image to its source as OCI"},
		"Docker's media types, without words": {image: docker, status: 415,
			want: "PUT manifest: 192.0.2.1 answered 415 Unsupported Media Type; the image has Docker's media types, and the registry may accept OCI's only: allow them there (zot: http.compat: [docker2s2]), or push the image to its source as OCI"},
		"Docker's media types, 400": {image: docker, status: 400, body: zotMediaType,
			want: "PUT manifest: 192.0.2.1 answered 400 Bad Request: MANIFEST_INVALID manifest invalid; the image has Docker's media types, and the registry may accept OCI's only: allow them there (zot: http.compat: [docker2s2]), or push the image to its source as OCI"},
		"OCI's media types": {status: 415,
			want: "PUT manifest: 192.0.2.1 answered 415 Unsupported Media Type; the registry accepts no manifests of the type application/vnd.oci.image.manifest.v1+json"},
		"a locked tag": {status: 405, body: acrLocked,
			want: "PUT manifest: 192.0.2.1 answered 405 Method Not Allowed: REGISTRY_DISALLOWED_OPERATION The operation is disallowed.; the tag or the repository is read-only or locked there"},
		"an immutable tag, Harbor": {status: 412, body: harborImmutable,
			want: "PUT manifest: 192.0.2.1 answered 412 Precondition Failed: PRECONDITION Failed to process request due to 'app:v1' configured as immutable.; the tag is immutable there: set moved: refuse, or list it in the mapping's immutable, or let it move there"},
		"read-only": {blob: true, status: 405, body: "Method not allowed\n",
			want: "POST blob upload: 192.0.2.1 answered 405 Method Not Allowed: Method not allowed; the repository accepts no uploads: it is read-only, or a pull-through cache, proxy or virtual repository; use another target"},
		"pull-through": {blob: true, status: 405, body: cacheUnsupported,
			want: "POST blob upload: 192.0.2.1 answered 405 Method Not Allowed: UNSUPPORTED The operation is unsupported.; the repository accepts no uploads: it is read-only, or a pull-through cache, proxy or virtual repository; use another target"},
		"a proxy project": {blob: true, status: 403, body: harborProxy,
			want: `POST blob upload: 192.0.2.1 answered 403 Forbidden: DENIED can not push artifact to a proxy project: "hub"; the repository accepts no uploads: it is read-only, or a pull-through cache, proxy or virtual repository; use another target`},
		"Quay while it is read-only": {blob: true, status: 405, body: quayReadOnly,
			want: "POST blob upload: 192.0.2.1 answered 405 Method Not Allowed: DENIED System is currently read-only. Pulls will succeed but all write operations are currently suspended.; the repository accepts no uploads: it is read-only, or a pull-through cache, proxy or virtual repository; use another target"},
		"no right": {blob: true, status: 403, body: forbidden,
			want: "POST blob upload: 192.0.2.1 answered 403 Forbidden: DENIED requested access to the resource is denied; this account may not do that at 192.0.2.1"},
		"nginx's limit, a manifest": {status: 413, body: nginxTooLarge,
			want: "PUT manifest: 192.0.2.1 answered 413 Request Entity Too Large; a proxy in front of the registry limits the size of uploads: raise the limit there (nginx: client_max_body_size 0)"},
		"a full disk": {status: 500, body: noSpace,
			want: "PUT manifest: 192.0.2.1 answered 500 Internal Server Error: write /data/x: no space left on device; the registry's disk is full"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r, client := stand(t, emulator.Options{}, Options{})
				header := http.Header{"Content-Type": {"application/json"}}
				if strings.HasPrefix(c.body, "<html>") {
					header.Set("Content-Type", "text/html")
				}
				match := requests(http.MethodPut, emulator.KindManifest)
				if c.blob {
					match = requests(http.MethodPost, emulator.KindUpload)
				}
				r.Inject(emulator.Fault{Match: match, Status: c.status, Header: header, Body: c.body})
				var err error
				if c.blob {
					_, err = putBlob(t, client, "team/app", "x")
				} else {
					m := emulator.SingleArch(1, "linux/amd64", c.image).Root()
					err = client.PutManifest(t.Context(), at("team/app").Tag("v1"), image.Manifest{
						Descriptor: image.Descriptor{MediaType: m.MediaType, Digest: image.Digest(m.Digest), Size: int64(len(m.Body))}, Raw: m.Body,
					})
				}
				e := failure(t, err)
				if got := e.Error(); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				if e.Temporary() != c.temporary {
					t.Errorf("temporary: %v", e.Temporary())
				}
				most := max(1, c.asked)
				if c.blob {
					most = 2
				}
				if n := r.Count(func(q emulator.Request) bool { return q.Status == c.status }); n > most {
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}

// putBlob brings data into a repository at home.
func putBlob(t *testing.T, client *Client, path, data string) (bool, error) {
	t.Helper()
	return client.PutBlob(t.Context(), at(path), content([]byte(data)), image.Repository{}, func(offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte(data)[offset:])), nil
	}, nil)
}

// TestProxyChangesPath has a registry behind a proxy that takes a part off paths, or puts one before them, and leaves Location as it is.
func TestProxyChangesPath(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"a part less": {"/v2/mirror/", "/v2/", `"team/app"`},
		"a part more": {"/v2/", "/v2/hosted/", `"hosted/mirror/team/app"`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := emulator.New(emulator.Options{})
				proxy := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					switch {
					case req.URL.Path == "/v2/":
					case strings.HasPrefix(req.URL.Path, c.from):
						req.URL.Path = c.to + strings.TrimPrefix(req.URL.Path, c.from)
					default:
						http.NotFound(w, req)
						return
					}
					r.ServeHTTP(w, req)
				})
				client := client(t, emulator.Network{home: proxy}, Options{})
				data := strings.Repeat("x", 300<<10) // too large for the POST
				_, err := putBlob(t, client, "mirror/team/app", data)
				e := failure(t, err)
				if e.Temporary() || e.Status != http.StatusNotFound {
					t.Errorf("error %v", err)
				}
				contains(t, err.Error(), "it began the upload in "+c.want+": a proxy on the way changes paths, and not Location headers; fix it, or name the registry itself as the target")
				if n := r.Count(func(q emulator.Request) bool { return q.Method == http.MethodPost }); n != 1 {
					t.Errorf("%d uploads were begun", n)
				}
			})
		})
	}
}

// TestForgottenUploadIsNoChangedPath: a session that is gone lies where it was begun.
func TestForgottenUploadIsNoChangedPath(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, client := stand(t, emulator.Options{}, Options{})
		r.Inject(emulator.Fault{Match: requests(http.MethodPut, emulator.KindUpload), Status: http.StatusNotFound, Body: `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}`})
		_, err := putBlob(t, client, "team/app", strings.Repeat("x", 300<<10))
		if failure(t, err); strings.Contains(err.Error(), "proxy") {
			t.Errorf("error %v", err)
		}
	})
}

// TestClosedRepositoryIsAskedOnce: what goes for one blob goes for all, for a minute, and for no other repository.
func TestClosedRepositoryIsAskedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, client := stand(t, emulator.Options{}, Options{})
		remove := r.Inject(emulator.Fault{Match: func(q *http.Request) bool {
			return q.Method == http.MethodPost && strings.HasPrefix(q.URL.Path, "/v2/cache/")
		}, Status: http.StatusMethodNotAllowed, Body: cacheUnsupported})
		for _, data := range []string{"a", "b", "c"} {
			if _, err := putBlob(t, client, "cache/app", data); err == nil || !strings.Contains(err.Error(), "accepts no uploads") {
				t.Errorf("error %v", err)
			}
		}
		if n := r.Count(func(q emulator.Request) bool { return q.Method == http.MethodPost }); n > 2 { // one for the mount, one without
			t.Errorf("asked %d times", n)
		}
		if _, err := putBlob(t, client, "team/app", "a"); err != nil {
			t.Errorf("another repository: %v", err)
		}
		remove()
		time.Sleep(closedFor) // of the bubble
		if _, err := putBlob(t, client, "cache/app", "a"); err != nil {
			t.Errorf("after a minute: %v", err)
		}
	})
}

// TestOneLockedTagClosesNothing: the tag beside it is written.
func TestOneLockedTagClosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, client := stand(t, emulator.Options{}, Options{})
		i := push(t, r, "team/app", "v0")
		r.Inject(emulator.Fault{Match: func(q *http.Request) bool {
			return q.Method == http.MethodPut && strings.HasSuffix(q.URL.Path, "/locked")
		}, Status: http.StatusMethodNotAllowed, Body: acrLocked})
		root := i.Root()
		m := image.Manifest{Descriptor: image.Descriptor{MediaType: root.MediaType, Digest: image.Digest(root.Digest), Size: int64(len(root.Body))}, Raw: root.Body}
		if err := client.PutManifest(t.Context(), at("team/app").Tag("locked"), m); err == nil {
			t.Error("the locked tag is written")
		}
		_, errBlob := putBlob(t, client, "team/app", "more")
		if err := errors.Join(errBlob, client.PutManifest(t.Context(), at("team/app").Tag("free"), m)); err != nil {
			t.Errorf("beside the locked tag: %v", err)
		}
	})
}

// TestClosedRepositoryIsFoundOutSoon: a hundred blobs wait for a slot when the first is refused; few of them are asked for before all know.
func TestClosedRepositoryIsFoundOutSoon(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, client := stand(t, emulator.Options{}, Options{})
		r.Inject(emulator.Fault{Match: func(q *http.Request) bool { return q.Method == http.MethodPost }, Delay: time.Second,
			Status: http.StatusMethodNotAllowed, Body: cacheUnsupported})
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				if _, err := putBlob(t, client, "cache/app", fmt.Sprint(i)); err == nil {
					t.Error("a blob was taken")
				}
			})
		}
		group.Wait()
		if n := r.Count(func(q emulator.Request) bool { return q.Method == http.MethodPost }); n > 8*startConcurrency {
			t.Errorf("asked %d times", n)
		}
	})
}
