package registry_test

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/google/go-cmp/cmp"
)

// with is a registry with an image at a:1, and a caller.
func with(t *testing.T, options registry.Options) (caller, *registry.Registry, registry.Image) {
	t.Helper()
	r := registry.New(options)
	return inMemory(t, r), r, mustPush(t, r, "a", "1", registry.MultiArch(1, registry.ImageOptions{}))
}

// TestAnswers is a table of what registries answer to one request by their options.
func TestAnswers(t *testing.T) {
	refused := func(status int) *registry.Answer { return &registry.Answer{Status: status, Body: "{}"} }
	tests := []struct {
		name         string
		options      registry.Options
		method, path string
		body         string
		headers      []string
		status       int
		header       map[string]string // "" is none
	}{
		{"missing", registry.Options{}, "GET", "/v2/b/manifests/1", "", nil, 404, nil},
		{"missing 403", registry.Options{Missing: refused(403)}, "GET", "/v2/b/manifests/1", "", nil, 403, nil},
		{"missing 400", registry.Options{Missing: refused(400)}, "HEAD", "/v2/a/manifests/2", "", nil, 400, nil},
		{"missing list", registry.Options{Missing: refused(403)}, "GET", "/v2/b/tags/list", "", nil, 403, nil},
		{"there", registry.Options{Missing: refused(403)}, "GET", "/v2/a/manifests/1", "", nil, 200, nil},
		{"head refused", registry.Options{Heads: registry.HeadOptions{Status: 405}}, "HEAD", "/v2/a/manifests/1", "", nil, 405, nil},
		{"head refused, get", registry.Options{Heads: registry.HeadOptions{Status: 405}}, "GET", "/v2/a/manifests/1", "", nil, 200, nil},
		{"head without type", registry.Options{Heads: registry.HeadOptions{MediaType: "none"}}, "HEAD", "/v2/a/manifests/1", "", nil, 200, map[string]string{"Content-Type": ""}},
		{"head, other type", registry.Options{Heads: registry.HeadOptions{MediaType: "text/plain"}}, "HEAD", "/v2/a/manifests/1", "", nil, 200, map[string]string{"Content-Type": "text/plain"}},
		{"head without digest", registry.Options{Heads: registry.HeadOptions{NoDigest: true}}, "HEAD", "/v2/a/manifests/1", "", nil, 200, map[string]string{"Docker-Content-Digest": ""}},
		{"get, other type", registry.Options{ManifestType: "application/json"}, "GET", "/v2/a/manifests/1", "", nil, 200, map[string]string{"Content-Type": "application/json"}},
		{"referrers refused", registry.Options{Referrers: true, ReferrersAnswer: refused(415)}, "GET", "/v2/a/referrers/sha256:1", "", nil, 415, nil},
		{"referrers, login page", registry.Options{ReferrersAnswer: registry.LoginPage()}, "GET", "/v2/a/referrers/sha256:1", "", nil, 200, map[string]string{"Content-Type": "text/html; charset=utf-8"}},
		{"docker types", registry.Options{OCIOnly: true}, "PUT", "/v2/a/manifests/2", "{}", []string{"Content-Type", "application/vnd.docker.distribution.manifest.v2+json"}, 415, nil},
		{"oci types", registry.Options{OCIOnly: true}, "PUT", "/v2/a/manifests/2", "{}", []string{"Content-Type", "application/vnd.oci.image.manifest.v1+json"}, 201, nil},
		{"read-only, push", registry.Options{ReadOnly: true}, "POST", "/v2/a/blobs/uploads/", "", nil, 405, nil},
		{"read-only, pull", registry.Options{ReadOnly: true}, "GET", "/v2/a/manifests/1", "", nil, 200, nil},
		{"immutable tag", registry.Options{ImmutableTags: true}, "PUT", "/v2/a/manifests/1", "{}", []string{"Content-Type", "application/vnd.oci.image.manifest.v1+json"}, 400, nil},
		{"immutable, new tag", registry.Options{ImmutableTags: true}, "PUT", "/v2/a/manifests/2", "{}", []string{"Content-Type", "application/vnd.oci.image.manifest.v1+json"}, 201, nil},
		{"body of the limit", registry.Options{Uploads: registry.UploadOptions{MaxBody: 1 << 20, SinglePost: true}}, "POST", "/v2/a/blobs/uploads/", strings.Repeat("x", 1<<20), nil, 202, nil},
		{"body above the limit", registry.Options{Uploads: registry.UploadOptions{MaxBody: 1 << 20, SinglePost: true}}, "POST", "/v2/a/blobs/uploads/", strings.Repeat("x", 1<<20+1), nil, 413, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _, _ := with(t, test.options)
			a := c.do(test.method, test.path, test.body, test.headers...)
			if a.Status != test.status {
				t.Errorf("status %d, want %d: %s", a.Status, test.status, a.Body)
			}
			for name, want := range test.header {
				if got := a.Header.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestTokenAnswers asks for tokens at the paths, and in the forms, of real token servers.
func TestTokenAnswers(t *testing.T) {
	tests := []struct {
		name string
		edit func(*registry.Auth)
		path string
		want []string // fields of the answer
		says any      // expires_in
	}{
		{"as it should", nil, "/token", []string{"access_token", "expires_in", "issued_at", "token"}, 300.0},
		{"Quay's path", func(a *registry.Auth) { a.TokenPath = "/v2/auth" }, "/v2/auth", []string{"access_token", "expires_in", "issued_at", "token"}, 300.0},
		{"access_token", func(a *registry.Auth) { a.TokenName = "access_token" }, "/token", []string{"access_token", "expires_in", "issued_at"}, 300.0},
		{"token", func(a *registry.Auth) { a.TokenName = "token" }, "/token", []string{"expires_in", "issued_at", "token"}, 300.0},
		{"no expires_in", func(a *registry.Auth) { a.ExpiresIn = "none" }, "/token", []string{"access_token", "issued_at", "token"}, nil},
		{"zero", func(a *registry.Auth) { a.ExpiresIn = "0" }, "/token", []string{"access_token", "expires_in", "issued_at", "token"}, 0.0},
		{"string", func(a *registry.Auth) { a.ExpiresIn = `"300"` }, "/token", []string{"access_token", "expires_in", "issued_at", "token"}, "300"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := secured(func(a *registry.Auth) {
				a.AnonymousPull = true
				if test.edit != nil {
					test.edit(a)
				}
			})
			c := inMemory(t, r)
			if challenge := c.do("GET", "/v2/", "").Header.Get("WWW-Authenticate"); !strings.Contains(challenge, test.path+`"`) {
				t.Errorf("challenge %s", challenge)
			}
			a := c.do("GET", test.path+"?service=registry", "")
			fields := map[string]any{}
			if err := json.Unmarshal([]byte(a.Body), &fields); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, slices.Sorted(maps.Keys(fields))); diff != "" || fields["expires_in"] != test.says {
				t.Errorf("%s, expires_in %v", diff, fields["expires_in"])
			}
			if n := r.Count(func(q registry.Request) bool { return q.Kind == registry.KindToken }); n != 1 {
				t.Errorf("%d requests for tokens in the log", n)
			}
		})
	}
}

func TestNegotiate(t *testing.T) {
	c := inMemory(t, secured(func(a *registry.Auth) { a.Negotiate = true }))
	if got := c.do("GET", "/v2/", "").Header.Values("WWW-Authenticate"); len(got) != 2 || got[0] != "Negotiate" || !strings.HasPrefix(got[1], "Bearer ") {
		t.Errorf("challenges %q", got)
	}
}

// TestPushMakes looks at a repository that does not exist, with a token for pulling and with one for pushing.
func TestPushMakes(t *testing.T) {
	c := inMemory(t, secured(func(a *registry.Auth) { a.PushMakes = true }))
	for scope, want := range map[string]int{"pull": 401, "pull,push": 404} {
		token, _ := c.token("ann", "secret", "repository:new:"+scope)
		a := c.do("HEAD", "/v2/new/manifests/1", "", "Authorization", "Bearer "+token)
		if challenge := a.Header.Get("WWW-Authenticate"); a.Status != want || want == 401 && !strings.Contains(challenge, `scope="repository:new:pull"`) {
			t.Errorf("with %s: %d, %s", scope, a.Status, challenge)
		}
	}
}

// TestLists follows the Links of lists.
func TestLists(t *testing.T) {
	names := []string{"a/b", "a-b", "a/c", "b"}
	tests := []struct {
		name  string
		lists registry.ListOptions
		page  int
		want  string
		link  string // part of the first
	}{
		{"as it should", registry.ListOptions{}, 2, "a-b a/b | a/c b", "</v2/_catalog?last=a%2Fb&n=2>"},
		{"Debian's order", registry.ListOptions{Compare: registry.PathOrder}, 3, "a/b a/c a-b | b", "last=a-b"},
		{"backwards", registry.ListOptions{Compare: registry.ReverseOrder}, 3, "b a/c a/b | a-b", "last=a%2Fb"},
		{"tokens", registry.ListOptions{Opaque: true}, 2, "a-b a/b | a/c b", "next_page="},
		{"absolute", registry.ListOptions{Absolute: true}, 2, "a-b a/b | a/c b", "<http://registry.test/v2/_catalog?"},
		{"circle", registry.ListOptions{Circle: true}, 2, "a-b a/b | a/c b | a-b a/b | a/c b", ""},
		{"clamped", registry.ListOptions{Clamp: 3}, 0, "a-b a/b a/c | b", "n=3"},
		{"unreadable", registry.ListOptions{Link: "<%zz"}, 2, "a-b a/b", "<%zz"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := registry.New(registry.Options{Lists: test.lists, PageSize: test.page})
			for _, name := range names {
				r.PutBlob(name, nil)
			}
			c := inMemory(t, r)
			var pages []string
			next := "/v2/_catalog?n=1000"
			for range 4 {
				a := c.do("GET", next, "")
				var document struct{ Repositories []string }
				if err := json.Unmarshal([]byte(a.Body), &document); err != nil {
					t.Fatal(err)
				}
				pages = append(pages, strings.Join(document.Repositories, " "))
				link := a.Header.Get("Link")
				if len(pages) == 1 && !strings.Contains(link, test.link) {
					t.Errorf("Link %s", link)
				}
				address, _, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
				if _, err := url.Parse(address); err != nil || !ok {
					break
				}
				next = address
			}
			if got := strings.Join(pages, " | "); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestCoding(t *testing.T) {
	for coding, decode := range map[registry.Coding]func(io.Reader) (io.ReadCloser, error){
		registry.Gzip:        func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) },
		registry.Deflate:     zlib.NewReader,
		registry.BareDeflate: func(r io.Reader) (io.ReadCloser, error) { return flate.NewReader(r), nil },
	} {
		c, _, i := with(t, registry.Options{Coding: coding})
		for path, want := range map[string][]byte{"manifests/1": i.Root().Body, "blobs/" + i.Blobs[0].Digest: i.Blobs[0].Data} {
			a := c.do("GET", "/v2/a/"+path, "", "Accept-Encoding", "identity")
			reader, err := decode(strings.NewReader(a.Body))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(reader)
			if err != nil || string(body) != string(want) || a.Header.Get("Content-Encoding") != strings.TrimPrefix(string(coding), "bare ") {
				t.Errorf("%s: %q, %v, %v", coding, body, err, a.Header)
			}
		}
		if head := c.do("HEAD", "/v2/a/manifests/1", ""); head.Header.Get("Content-Length") != fmt.Sprint(len(i.Root().Body)) {
			t.Errorf("HEAD: %v", head.Header)
		}
	}
}

// TestStore reads a blob from a store by signed URLs, until they end.
func TestStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &registry.Store{URL: "http://store.test", Life: time.Minute, Tokens: true}
		r := registry.New(registry.Options{Store: store})
		digest := r.PutBlob("a", []byte("data"))
		network := registry.Network{"registry.test": r, "store.test": store}
		c := caller{tb: t, client: &http.Client{Transport: network, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, url: "http://registry.test"}
		redirect := c.do("GET", "/v2/a/blobs/"+digest, "")
		at := redirect.Header.Get("Location")
		if redirect.Status != 307 || !strings.HasPrefix(at, "http://store.test/") {
			t.Fatalf("%d to %s", redirect.Status, at)
		}
		if a := c.do("GET", at, ""); a.Status != 401 || !strings.Contains(a.Header.Get("WWW-Authenticate"), "http://store.test/token") {
			t.Errorf("without a token: %d, %v", a.Status, a.Header)
		}
		var token struct{ Token string }
		if err := json.Unmarshal([]byte(c.do("GET", "http://store.test/token", "").Body), &token); err != nil {
			t.Fatal(err)
		}
		signed := []string{"Authorization", "Bearer " + token.Token}
		if a := c.do("GET", at, "", signed...); a.Status != 200 || a.Body != "data" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if a := c.do("GET", at+"x", "", signed...); a.Status != 403 || !strings.Contains(a.Body, "SignatureDoesNotMatch") {
			t.Errorf("another signature: %d %s", a.Status, a.Body)
		}
		time.Sleep(time.Minute + time.Second)
		if a := c.do("GET", at, "", signed...); a.Status != 403 || !strings.Contains(a.Body, "expired") {
			t.Errorf("after its end: %d %s", a.Status, a.Body)
		}
	})
}

// TestUploadFaults starts an upload that breaks off, and goes on.
func TestUploadFaults(t *testing.T) {
	broken := func(t *testing.T, options registry.UploadOptions) (c caller, r *registry.Registry, at string) {
		r = registry.New(registry.Options{Uploads: options})
		c = inMemory(t, r)
		at = c.do("POST", "/v2/a/blobs/uploads/", "").Header.Get("Location")
		defer r.Inject(registry.Fault{CutRequestAt: 3, Match: registry.MatchKind("PATCH", "")})()
		req, err := http.NewRequestWithContext(t.Context(), "PATCH", c.url+at, strings.NewReader("abcdef"))
		if err != nil {
			t.Fatal(err)
		}
		if response, err := c.client.Do(req); err == nil {
			t.Errorf("status %d", response.StatusCode)
			_ = response.Body.Close()
		}
		return c, r, at
	}
	t.Run("goes on", func(t *testing.T) {
		c, _, at := broken(t, registry.UploadOptions{})
		if a := c.do("GET", at, ""); a.Header.Get("Range") != "0-2" {
			t.Errorf("Range %s", a.Header.Get("Range"))
		}
		if a := c.do("PATCH", at, "def"); a.Status != 202 || a.Header.Get("Range") != "0-5" {
			t.Errorf("%d, Range %s", a.Status, a.Header.Get("Range"))
		}
	})
	t.Run("range ahead", func(t *testing.T) {
		c, _, at := broken(t, registry.UploadOptions{RangeAhead: true})
		if a := c.do("GET", at, ""); a.Header.Get("Range") != "0-3" {
			t.Errorf("Range %s", a.Header.Get("Range"))
		}
	})
	t.Run("resume fails", func(t *testing.T) {
		c, _, at := broken(t, registry.UploadOptions{ResumeFails: true})
		if get, patch := c.do("GET", at, ""), c.do("PATCH", at, "def"); get.Status != 204 || patch.Status != 500 {
			t.Errorf("GET %d, PATCH %d", get.Status, patch.Status)
		}
		if a := c.upload("a", "abc", registry.Sum([]byte("abc"))); a.Status != 201 {
			t.Errorf("another session: %d", a.Status)
		}
	})
	t.Run("forgetful", func(t *testing.T) {
		c, _, at := broken(t, registry.UploadOptions{Forgetful: true})
		if a := c.do("GET", at, ""); a.Status != 404 {
			t.Errorf("%d", a.Status)
		}
	})
	t.Run("lost answer", func(t *testing.T) {
		r := registry.New(registry.Options{Uploads: registry.UploadOptions{LostAnswers: 1}})
		c, digest := inMemory(t, r), registry.Sum([]byte("abc"))
		if first, there, second := c.upload("a", "abc", digest), r.HasBlob("a", digest), c.upload("a", "abc", digest); first.Status != 504 || !there || second.Status != 201 {
			t.Errorf("%d, there %t, then %d", first.Status, there, second.Status)
		}
	})
}

// TestSlowLinks pushes an index while one of its children is put by tag once more.
func TestSlowLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, i := with(t, registry.Options{SlowLinks: time.Second})
		child, root := i.Manifests[0], i.Root()
		put := func(tag string, m registry.Manifest) int {
			return c.do("PUT", "/v2/a/manifests/"+tag, string(m.Body), "Content-Type", m.MediaType).Status
		}
		first := make(chan int)
		go func() { first <- put("1-amd64", child) }()
		synctest.Wait()
		// By digest: an index that is there and is put by tag is linked anew as well, and so waits as long as the child.
		index := c.do("PUT", "/v2/a/manifests/"+registry.Sum(root.Body), string(root.Body), "Content-Type", root.MediaType)
		if index.Status != 400 || index.Code != "DIGEST_INVALID" {
			t.Errorf("while the child is put: %d %s", index.Status, index.Code)
		}
		if status := <-first; status != 201 {
			t.Errorf("the child: %d", status)
		}
		if status := put("2", root); status != 201 {
			t.Errorf("afterwards: %d", status)
		}
	})
}

// TestFaultsWithoutEnd reads an answer that trickles, and one that has no end.
func TestFaultsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r, _ := with(t, registry.Options{})
		remove := r.Inject(registry.Fault{Trickle: 5 * time.Second})
		began := time.Now()
		a := c.do("GET", "/v2/", "")
		if took := time.Since(began); a.Body != "{}" || took != 10*time.Second {
			t.Errorf("%q after %v", a.Body, took)
		}
		remove()
		r.Inject(registry.Fault{Endless: true})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.CopyN(io.Discard, response.Body, 10<<20); err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		_ = response.Body.Close()
	})
}
