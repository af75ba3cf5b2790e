package registry_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// An independent client pulls what was pushed, whole, and pushes it elsewhere under the same digest.
func TestIndependentClient(t *testing.T) {
	variants := map[string]registry.ImageOptions{
		"oci":          {Layers: 2},
		"docker":       {Docker: true, Platforms: []string{"linux/amd64", "linux/arm/v7"}},
		"attestations": {Attestations: true},
	}
	for title, options := range variants {
		t.Run(title, func(t *testing.T) {
			r := registry.New(registry.Options{})
			s := registrytest.Start(t, r)
			image := mustPush(t, r, "team/app", "v1", registry.MultiArch(7, options))
			pullAndPush(t, s.Host, image)
			if err := r.Whole("team/copy", "v1"); err != nil {
				t.Error(err)
			}
		})
	}
}

func pullAndPush(t *testing.T, host string, image registry.Image) {
	t.Helper()
	source, err := name.ParseReference(host + "/team/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	head, err := remote.Head(source)
	if err != nil {
		t.Fatal(err)
	}
	root := image.Root()
	want := v1.Descriptor{MediaType: head.MediaType, Size: int64(len(root.Body)), Digest: head.Digest}
	if diff := cmp.Diff(want, *head); diff != "" || string(head.MediaType) != root.MediaType || head.Digest.String() != image.Digest {
		t.Errorf("HEAD says %+v: %s", head, diff)
	}
	index, err := remote.Index(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index, validate.Fast); err != nil {
		t.Error(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	child, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(child); err != nil { // unpacks the layers
		t.Error(err)
	}
	target, err := name.ParseReference(host + "/team/copy:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(target, index); err != nil {
		t.Fatal(err)
	}
	copied, err := remote.Head(target)
	if err != nil {
		t.Fatal(err)
	}
	if copied.Digest.String() != image.Digest {
		t.Errorf("the copy is %s, want %s", copied.Digest, image.Digest)
	}
}

func TestTLS(t *testing.T) {
	r := registry.New(registry.Options{})
	s, err := r.StartTLS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c := caller{tb: t, client: trusting(t, s.CA), url: s.URL}
	if a := c.do(http.MethodGet, "/v2/", ""); a.Status != http.StatusOK {
		t.Errorf("ping: %d", a.Status)
	}
	if _, err := http.Get(s.URL + "/v2/"); err == nil {
		t.Error("a client that does not know the authority was let in")
	}
}

func TestBlobsBelongToRepositories(t *testing.T) {
	r := registry.New(registry.Options{})
	c := inMemory(t, r)
	digest := registry.Sum([]byte("layer"))
	blob := func(repository string) string { return "/v2/" + repository + "/blobs/" + digest }
	mount := func(to, from string) answer {
		return c.do(http.MethodPost, "/v2/"+to+"/blobs/uploads/?mount="+digest+"&from="+from, "")
	}

	if a := c.upload("a", "layer", digest); a.Status != http.StatusCreated || a.Header.Get("Location") != blob("a") {
		t.Fatalf("upload: %+v", a)
	}
	if a := c.do(http.MethodGet, blob("a"), ""); a.Status != http.StatusOK || a.Body != "layer" {
		t.Errorf("GET where it is: %+v", a)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if a := c.do(method, blob("b"), ""); a.Status != http.StatusNotFound {
			t.Errorf("%s where it never was: %d", method, a.Status)
		}
	}
	if a := mount("b", "c"); a.Status != http.StatusAccepted || a.Header.Get("Location") == "" {
		t.Errorf("mount from where it is not: %+v", a)
	}
	if r.HasBlob("b", digest) {
		t.Error("the refused mount left a blob")
	}
	if a := mount("b", "a"); a.Status != http.StatusCreated || a.Header.Get("Location") != blob("b") {
		t.Errorf("mount: %+v", a)
	}
	if a := c.do(http.MethodHead, blob("b"), ""); a.Status != http.StatusOK || a.Header.Get("Content-Length") != "5" {
		t.Errorf("HEAD after mount: %+v", a)
	}
	if !r.DeleteBlob("a", digest) || r.HasBlob("a", digest) || !r.HasBlob("b", digest) {
		t.Error("deleting from one repository has to leave the other's")
	}
}

func TestUpload(t *testing.T) {
	digest := registry.Sum([]byte("0123456789"))
	start := func(c caller) string {
		return c.do(http.MethodPost, "/v2/a/blobs/uploads/", "").Header.Get("Location")
	}
	t.Run("chunks", func(t *testing.T) {
		r := registry.New(registry.Options{})
		c := inMemory(t, r)
		at := start(c)
		first := c.do(http.MethodPatch, at, "0123", "Content-Range", "0-3")
		if first.Status != http.StatusAccepted || first.Header.Get("Range") != "0-3" {
			t.Errorf("first chunk: %+v", first)
		}
		if a := c.do(http.MethodPatch, at, "6789", "Content-Range", "6-9"); a.Status != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("chunk after a gap: %+v", a)
		}
		if a := c.do(http.MethodGet, at, ""); a.Status != http.StatusNoContent || a.Header.Get("Range") != "0-3" {
			t.Errorf("status: %+v", a)
		}
		c.do(http.MethodPatch, at, "4567", "Content-Range", "4-7")
		if a := c.do(http.MethodPut, at+"&digest="+digest, "89"); a.Status != http.StatusCreated || !r.HasBlob("a", digest) {
			t.Errorf("end: %+v", a)
		}
		if a := c.do(http.MethodGet, at, ""); a.Code != "BLOB_UPLOAD_UNKNOWN" {
			t.Errorf("status after the end: %+v", a)
		}
	})
	t.Run("all at once", func(t *testing.T) {
		for takes, status := range map[bool]int{true: http.StatusCreated, false: http.StatusAccepted} {
			r := registry.New(registry.Options{Uploads: registry.UploadOptions{SinglePost: takes}})
			a := inMemory(t, r).do(http.MethodPost, "/v2/a/blobs/uploads/?digest="+digest, "0123456789")
			if a.Status != status || r.HasBlob("a", digest) != takes {
				t.Errorf("%+v", a)
			}
		}
	})
	t.Run("limits", func(t *testing.T) {
		c := inMemory(t, registry.New(registry.Options{Uploads: registry.UploadOptions{MaxBody: 5, MinChunk: 3}}))
		a := c.do(http.MethodPost, "/v2/a/blobs/uploads/", "")
		if a.Header.Get("OCI-Chunk-Min-Length") != "3" {
			t.Errorf("start: %+v", a)
		}
		at := a.Header.Get("Location")
		if a := c.do(http.MethodPatch, at, "012345"); a.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("too large: %+v", a)
		}
		if a := c.do(http.MethodPatch, at, "01"); a.Status != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("too small: %+v", a)
		}
	})
	t.Run("only the last patch", func(t *testing.T) {
		c := inMemory(t, registry.New(registry.Options{Uploads: registry.UploadOptions{OnlyLastPatch: true}}))
		at := start(c)
		c.do(http.MethodPatch, at, "01234")
		c.do(http.MethodPatch, at, "56789")
		if a := c.do(http.MethodPut, at+"&digest="+digest, ""); a.Code != "DIGEST_INVALID" {
			t.Errorf("end: %+v", a)
		}
	})
	t.Run("wrong digest", func(t *testing.T) {
		r := registry.New(registry.Options{})
		if a := inMemory(t, r).upload("a", "other", digest); a.Code != "DIGEST_INVALID" || r.HasBlob("a", digest) {
			t.Errorf("%+v", a)
		}
	})
	t.Run("given up", func(t *testing.T) {
		c := inMemory(t, registry.New(registry.Options{}))
		at := start(c)
		c.do(http.MethodDelete, at, "")
		if a := c.do(http.MethodPatch, at, "x"); a.Status != http.StatusNotFound {
			t.Errorf("%+v", a)
		}
	})
}

func TestRange(t *testing.T) {
	r := registry.New(registry.Options{})
	digest := r.PutBlob("a", []byte("0123456789"))
	for span, want := range map[string]string{"bytes=4-": "456789", "bytes=2-3": "23"} {
		a := inMemory(t, r).do(http.MethodGet, "/v2/a/blobs/"+digest, "", "Range", span)
		if a.Status != http.StatusPartialContent || a.Body != want {
			t.Errorf("%s: %d %q, want %q", span, a.Status, a.Body, want)
		}
	}
}

func TestManifestStrictness(t *testing.T) {
	const (
		image   = "application/vnd.oci.image.manifest.v1+json"
		index   = "application/vnd.oci.image.index.v1+json"
		layer   = "application/vnd.oci.image.layer.v1.tar+gzip"
		foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	)
	there, missing := registry.Sum([]byte("{}")), registry.Sum([]byte("missing"))
	of := func(layerType, config, layer string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},`+
			`"layers":[{"mediaType":%q,"digest":%q,"size":2}]}`, image, config, layerType, layer)
	}
	list := func(child string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":2,`+
			`"platform":{"os":"linux","architecture":"amd64"}}]}`, index, image, child)
	}
	tests := []struct {
		name, mediaType, body, reference string
		status                           int
		code                             string
		lax                              int // status when lax
		own                              bool
	}{
		{name: "whole", mediaType: image, body: of(layer, there, there), status: 201, lax: 201},
		{name: "layer missing", mediaType: image, body: of(layer, there, missing), status: 400, code: "MANIFEST_BLOB_UNKNOWN", lax: 201},
		{name: "config missing", mediaType: image, body: of(layer, missing, there), status: 400, code: "MANIFEST_BLOB_UNKNOWN", lax: 201},
		{name: "foreign layer", mediaType: image, body: of(foreign, there, missing), status: 201, lax: 201, own: true},
		{name: "child missing", mediaType: index, body: list(missing), status: 400, code: "MANIFEST_BLOB_UNKNOWN", lax: 201},
		{name: "not JSON", mediaType: image, body: "{", status: 400, code: "MANIFEST_INVALID", lax: 400},
		{name: "other type", mediaType: index, body: of(layer, there, there), status: 400, code: "MANIFEST_INVALID", lax: 400},
		{name: "other digest", mediaType: image, body: of(layer, there, there), reference: missing, status: 400, code: "DIGEST_INVALID", lax: 400},
	}
	strict := func(t *testing.T, c caller, own bool) {
		if a := c.upload("a", "{}", there); a.Status != http.StatusCreated {
			t.Fatalf("upload: %+v", a)
		}
		for _, test := range tests {
			if test.own && !own {
				continue
			}
			t.Run(test.name, func(t *testing.T) {
				reference := test.reference
				if reference == "" {
					reference = "v1"
				}
				a := c.do(http.MethodPut, "/v2/a/manifests/"+reference, test.body, "Content-Type", test.mediaType)
				if a.Status != test.status || a.Code != test.code {
					t.Errorf("got %d %s, want %d %s: %s", a.Status, a.Code, test.status, test.code, a.Body)
				}
				location := "/v2/a/manifests/" + registry.Sum([]byte(test.body))
				if a.Status == 201 && !strings.HasSuffix(a.Header.Get("Location"), location) {
					t.Errorf("Location %q, want %q", a.Header.Get("Location"), location)
				}
			})
		}
	}
	t.Run("strict", func(t *testing.T) { strict(t, inMemory(t, registry.New(registry.Options{})), true) })
	t.Run("docker-registry", func(t *testing.T) {
		p := registrytest.RequireProcess(t)
		strict(t, caller{tb: t, client: http.DefaultClient, url: p.URL}, false)
	})
	for _, test := range tests {
		t.Run("lax/"+test.name, func(t *testing.T) {
			c := inMemory(t, registry.New(registry.Options{LaxManifests: true}))
			reference := test.reference
			if reference == "" {
				reference = "v1"
			}
			a := c.do(http.MethodPut, "/v2/a/manifests/"+reference, test.body, "Content-Type", test.mediaType)
			if a.Status != test.lax {
				t.Errorf("got %d %s, want %d", a.Status, a.Body, test.lax)
			}
		})
	}
}

func TestManifestHeaders(t *testing.T) {
	r := registry.New(registry.Options{})
	image := mustPush(t, r, "a", "v1", registry.MultiArch(1, registry.ImageOptions{}))
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for _, reference := range []string{"v1", image.Digest} {
			a := inMemory(t, r).do(method, "/v2/a/manifests/"+reference, "")
			got := []string{a.Header.Get("Docker-Content-Digest"), a.Header.Get("Content-Type"), a.Header.Get("Content-Length")}
			want := []string{image.Digest, image.Root().MediaType, fmt.Sprint(len(image.Root().Body))}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s: %s", method, reference, diff)
			}
		}
	}
}

func TestDelete(t *testing.T) {
	r := registry.New(registry.Options{})
	c := inMemory(t, r)
	one := mustPush(t, r, "a", "one", registry.MultiArch(1, registry.ImageOptions{}))
	two := mustPush(t, r, "a", "two", registry.MultiArch(2, registry.ImageOptions{}))
	if err := r.PutTag("a", "latest", one.Digest); err != nil {
		t.Fatal(err)
	}
	if err := r.PutTag("a", "latest", registry.Sum(nil)); err == nil {
		t.Error("a tag was moved to nothing")
	}
	if a := c.do(http.MethodDelete, "/v2/a/manifests/two", ""); a.Status != http.StatusAccepted {
		t.Errorf("delete tag: %+v", a)
	}
	if r.Digest("a", two.Digest) == "" {
		t.Error("deleting a tag deleted its manifest")
	}
	if diff := cmp.Diff([]string{"latest", "one"}, r.Tags("a")); diff != "" {
		t.Error(diff)
	}
	if a := c.do(http.MethodDelete, "/v2/a/manifests/"+one.Digest, ""); a.Status != http.StatusAccepted {
		t.Errorf("delete manifest: %+v", a)
	}
	if tags := r.Tags("a"); len(tags) != 0 {
		t.Errorf("tags of a deleted manifest: %v", tags)
	}
	if a := c.do(http.MethodHead, "/v2/a/manifests/one", ""); a.Status != http.StatusNotFound {
		t.Errorf("HEAD of a deleted tag: %+v", a)
	}
}

func TestWhole(t *testing.T) {
	image := registry.MultiArch(1, registry.ImageOptions{Foreign: true})
	tests := []struct {
		name, want string
		harm       func(*registry.Registry)
	}{
		{name: "whole", harm: func(*registry.Registry) {}},
		{name: "blob", want: "blob " + image.Blobs[0].Digest, harm: func(r *registry.Registry) { r.DeleteBlob("a", image.Blobs[0].Digest) }},
		{name: "child", want: "manifest " + image.Manifests[1].Digest, harm: func(r *registry.Registry) { r.DeleteManifest("a", image.Manifests[1].Digest) }},
		{name: "tag", want: "manifest v1", harm: func(r *registry.Registry) { r.DeleteTag("a", "v1") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := registry.New(registry.Options{})
			mustPush(t, r, "a", "v1", image)
			test.harm(r)
			err := r.Whole("a", "v1")
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want+" ")) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestPaging(t *testing.T) {
	tests := []struct {
		name     string
		pageSize int
		query    string
		want     [][]string
	}{
		{name: "no paging", want: [][]string{{"a", "b", "c", "d"}}},
		{name: "pages", pageSize: 3, want: [][]string{{"a", "b", "c"}, {"d"}}},
		{name: "exact pages", pageSize: 2, want: [][]string{{"a", "b"}, {"c", "d"}}},
		{name: "client asks for less", pageSize: 3, query: "?n=2", want: [][]string{{"a", "b"}, {"c", "d"}}},
		{name: "client asks for more", pageSize: 3, query: "?n=100", want: [][]string{{"a", "b", "c"}, {"d"}}},
		{name: "last between", query: "?last=bb", want: [][]string{{"c", "d"}}},
		{name: "last behind the end", query: "?last=zz", want: [][]string{{}}},
		{name: "none", query: "?n=0", want: [][]string{{}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := registry.New(registry.Options{PageSize: test.pageSize, LaxManifests: true})
			for _, tag := range []string{"d", "b", "a", "c"} {
				mustPush(t, r, "team/app", tag, registry.MultiArch(1, registry.ImageOptions{}))
				mustPush(t, r, tag, "v1", registry.MultiArch(1, registry.ImageOptions{}))
			}
			c := inMemory(t, r)
			if diff := cmp.Diff(test.want, c.pages("/v2/team/app/tags/list"+test.query, "tags")); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("catalog", func(t *testing.T) {
		r := registry.New(registry.Options{PageSize: 2})
		for _, repository := range []string{"c", "a", "b"} {
			r.PutBlob(repository, nil)
		}
		if diff := cmp.Diff([][]string{{"a", "b"}, {"c"}}, inMemory(t, r).pages("/v2/_catalog", "repositories")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("unknown repository", func(t *testing.T) {
		if a := inMemory(t, registry.New(registry.Options{})).do(http.MethodGet, "/v2/a/tags/list", ""); a.Code != "NAME_UNKNOWN" {
			t.Errorf("%+v", a)
		}
	})
}

func TestReferrers(t *testing.T) {
	for _, api := range []bool{true, false} {
		t.Run(fmt.Sprintf("api=%t", api), func(t *testing.T) {
			r := registry.New(registry.Options{Referrers: api})
			c := inMemory(t, r)
			image := mustPush(t, r, "a", "v1", registry.MultiArch(1, registry.ImageOptions{}))
			var want []string
			for _, kind := range []string{"application/x.sbom", "application/x.signature"} {
				digest, err := r.PutReferrer("a", image.Digest, kind, []byte(kind))
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, digest)
			}
			signature := want[1]
			slices.Sort(want)
			path := "/v2/a/referrers/" + image.Digest
			if !api {
				if a := c.do(http.MethodGet, path, ""); a.Status != http.StatusNotFound {
					t.Errorf("the API answers: %+v", a)
				}
				path = "/v2/a/manifests/" + strings.Replace(image.Digest, ":", "-", 1)
			}
			if diff := cmp.Diff(want, c.digests(path)); diff != "" {
				t.Error(diff)
			}
			if api {
				if diff := cmp.Diff([]string{signature}, c.digests(path+"?artifactType=application/x.signature")); diff != "" {
					t.Error(diff)
				}
				if got := c.digests("/v2/a/referrers/" + registry.Sum(nil)); len(got) != 0 {
					t.Errorf("referrers of nothing: %v", got)
				}
			}
		})
	}
}
