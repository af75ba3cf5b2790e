package registry_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/emulator/registry"
	"github.com/draysync/dray/internal/emulator/registry/registrytest"
	"github.com/google/go-cmp/cmp"
)

var fullOptions = registry.ImageOptions{
	Platforms: []string{"linux/amd64", "linux/arm/v7"}, Layers: 2, Attestations: true, Foreign: true,
}

// The digests of a seed are the same on every machine: benchmarks and golden files rely on it.
func TestImageIsDeterministic(t *testing.T) {
	image := registry.MultiArch(1, fullOptions)
	const want = "sha256:245f1730b47304fecb58a41900f187d385611da1640898906c54acc6489a00bf"
	if image.Digest != want {
		t.Errorf("digest %s, want %s", image.Digest, want)
	}
	if diff := cmp.Diff(image, registry.MultiArch(1, fullOptions)); diff != "" {
		t.Error(diff)
	}
	if other := registry.MultiArch(2, fullOptions); other.Digest == image.Digest {
		t.Error("another seed has the same digest")
	}
}

func TestImageParts(t *testing.T) {
	image := registry.MultiArch(1, fullOptions)
	var platforms []string
	for _, m := range image.Manifests {
		platforms = append(platforms, m.Platform)
		if registry.Sum(m.Body) != m.Digest {
			t.Errorf("manifest %s is not what it says", m.Digest)
		}
	}
	want := []string{"linux/amd64", "unknown/unknown", "linux/arm/v7", "unknown/unknown", ""}
	if diff := cmp.Diff(want, platforms); diff != "" {
		t.Error(diff)
	}
	about := fmt.Sprintf(`"vnd.docker.reference.digest":%q`, image.Manifests[0].Digest)
	if !strings.Contains(string(image.Root().Body), about) {
		t.Errorf("no %s in %s", about, image.Root().Body)
	}
	// Per platform two layers, a config, a statement and its config.
	if n := len(image.Digests()); n != 5+2*5 || len(slices.Compact(image.Digests())) != n {
		t.Errorf("%d digests: %v", n, image.Digests())
	}
	based := registry.MultiArch(1, registry.ImageOptions{Base: []registry.Layer{registry.NewLayer(9, 10)}})
	if len(based.Blobs) != 1+2*2 {
		t.Errorf("a layer of two platforms is in the list twice: %v", based.Digests())
	}
	single := registry.SingleArch(1, "linux/amd64", registry.ImageOptions{})
	if len(single.Manifests) != 1 || single.Digest != single.Manifests[0].Digest || single.Size() < 1024 {
		t.Errorf("%+v", single)
	}
}

func TestCorpus(t *testing.T) {
	corpus := registry.Corpus{Repositories: 2, Tags: 3, SharedLayers: 2}
	one, two := registry.New(registry.Options{}), registry.New(registry.Options{})
	first, err := one.Fill(corpus)
	if err != nil {
		t.Fatal(err)
	}
	second, err := corpus.PushTo(t.Context(), &http.Client{Transport: two.Transport()}, "http://registry.test")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	names := slices.Sorted(maps.Keys(first))
	if len(names) != 6 || names[0] != "library/app-00:1.0.0" || names[5] != "library/app-01:1.2.0" {
		t.Errorf("names %v", names)
	}
	if len(slices.Compact(slices.Sorted(maps.Values(first)))) != 6 {
		t.Errorf("digests repeat: %v", first)
	}
	for _, r := range []*registry.Registry{one, two} {
		for name, digest := range first {
			repository, tag, _ := strings.Cut(name, ":")
			if got := r.Digest(repository, tag); got != digest {
				t.Errorf("%s is %s, want %s", name, got, digest)
			}
			if err := r.Whole(repository, tag); err != nil {
				t.Error(err)
			}
		}
	}
	shared := registry.NewLayer(-1_000_000, 1024).Digest
	if !one.HasBlob("library/app-00", shared) || !one.HasBlob("library/app-01", shared) {
		t.Error("the repositories share no layer")
	}
	corpus.Seed = 1
	other, err := one.Fill(corpus)
	if err != nil {
		t.Fatal(err)
	}
	if other[names[0]] == first[names[0]] {
		t.Error("another seed has the same digests")
	}
}

func TestCorpusPushFails(t *testing.T) {
	r := registry.New(registry.Options{})
	r.Inject(registry.Fault{Status: 500, Match: registry.MatchKind(http.MethodPut, registry.KindManifest)})
	_, err := registry.Corpus{Repositories: 4, Tags: 10}.PushTo(t.Context(), &http.Client{Transport: r.Transport()}, "http://registry.test")
	if err == nil || !strings.Contains(err.Error(), "500 Internal Server Error") {
		t.Errorf("got %v", err)
	}
}

// docker-registry takes what we make, through the proxy, and an independent client gets it back.
func TestProcess(t *testing.T) {
	p := registrytest.RequireProcess(t)
	proxy, c := startProxy(t, p.URL, 0)
	for title, options := range map[string]registry.ImageOptions{"oci": fullOptions, "docker": {Docker: true, Foreign: true}} {
		image := registry.MultiArch(1, options)
		if err := image.PushTo(t.Context(), nil, c.url, "team/"+title, "v1"); err != nil {
			t.Fatal(err)
		}
		a := c.do(http.MethodHead, "/v2/team/"+title+"/manifests/v1", "", "Accept", image.Root().MediaType)
		if got := a.Header.Get("Docker-Content-Digest"); got != image.Digest {
			t.Errorf("%s: got %s, want %s", title, got, image.Digest)
		}
		proxy.Reset()
		if err := image.PushTo(t.Context(), nil, c.url, "team/"+title, "v1"); err != nil {
			t.Fatal(err)
		}
		if n := proxy.Count(func(r registry.Request) bool { return r.Kind == registry.KindUpload }); n != 0 {
			t.Errorf("%s: the second push made %d upload requests", title, n)
		}
	}
	image := registry.MultiArch(2, registry.ImageOptions{Layers: 2})
	if err := image.PushTo(t.Context(), nil, c.url, "team/app", "v1"); err != nil {
		t.Fatal(err)
	}
	pullAndPush(t, strings.TrimPrefix(c.url, "http://"), image)
	if a := c.do(http.MethodDelete, "/v2/team/app/manifests/"+image.Digest, ""); a.Status != http.StatusAccepted {
		t.Errorf("delete: %+v", a)
	}
	p.Stop()
	if a := c.do(http.MethodGet, "/v2/", ""); a.Status != http.StatusBadGateway {
		t.Errorf("stopped, but answers %d", a.Status)
	}
}
