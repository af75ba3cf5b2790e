package acr

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// TestFits has mappings ask whether Azure can make their imports, with the first reason that speaks against it.
func TestFits(t *testing.T) {
	known := map[string]Registry{
		"ours.azurecr.io": {Azure: true}, "theirs.azurecr.io": {Azure: true}, "plain.example.com": {Plain: true},
		"own.example.com": {Private: true}, "login.example.com": {Stored: true}, "given.example.com": {Stored: true, Signed: true},
		"ghcr.io": {Signed: true},
	}
	amd64 := []image.Platform{{OS: "linux", Architecture: "amd64"}}
	for _, tt := range []struct {
		source, target string
		edit           func(*mirror.Order)
		fits           bool
		why            string
	}{
		{"docker.io/library/a:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"docker.io/team/a:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"mcr.microsoft.com/a:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"quay.io/a/b:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"ghcr.io/a/b:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"theirs.azurecr.io/a:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"other.azurecr.io/a:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"registry.example.com:5000/a:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"given.example.com/a:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"ours.azurecr.io/b:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"203.0.113.9/a:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"docker.io/library/a:1", "ours.azurecr.io/a:1", func(o *mirror.Order) { o.Engine = "acr" }, true, "mapping says"},
		{"docker.io/library/a:1", "theirs.azurecr.io/a:1", func(o *mirror.Order) { o.Engine = "acr" }, true, "mapping says"},
		{"docker.io/library/a:1", "ghcr.io/a/a:1", func(o *mirror.Order) { o.Engine = "acr" }, false, "not configured as an Azure Container Registry"},
		{"docker.io/library/a:1", "ghcr.io/a/a:1", nil, false, ""},
		{"docker.io/library/a:1", "unknown.azurecr.io/a:1", nil, false, ""},
		{"docker.io/library/a:1", "ocidir:///srv/a:1", nil, false, ""},
		{"ours.azurecr.io/a:1", "ghcr.io/a/a:1", nil, false, ""},
		{"docker.io/library/a:1", "ours.azurecr.io/a:1", func(o *mirror.Order) { o.Platforms = amd64 }, false, "platforms"},
		{"docker.io/library/a:1", "ours.azurecr.io/a:1", func(o *mirror.Order) { o.ForeignLayers = true }, false, "layers by URL"},
		{"ocidir:///srv/a:1", "ours.azurecr.io/a:1", nil, false, "OCI layout"},
		{"plain.example.com/a:1", "ours.azurecr.io/a:1", nil, false, "no TLS"},
		{"own.example.com/a:1", "ours.azurecr.io/a:1", nil, false, "certificate"},
		{"localhost:5000/a:1", "ours.azurecr.io/a:1", nil, false, "not a public host"},
		{"127.0.0.1:5000/a:1", "ours.azurecr.io/a:1", nil, false, "not a public host"},
		{"10.1.2.3:5000/a:1", "ours.azurecr.io/a:1", nil, false, "not a public host"},
		{"harbor.corp.internal/a/b:1", "ours.azurecr.io/a:1", nil, false, "not a public host"},
		{"login.example.com/a:1", "ours.azurecr.io/a:1", nil, false, "credential store"},
		{"docker.io/library/many:1", "ours.azurecr.io/a:1", nil, false, "61 manifests"},
		{"docker.io/library/long:1", "ours.azurecr.io/a:1", nil, true, "by itself"},
		{"localhost:5000/a:1", "ours.azurecr.io/a:1", func(o *mirror.Order) { o.Engine = "acr" }, false, "not a public host"},
	} {
		t.Run(tt.source+" "+tt.target, func(t *testing.T) {
			e := New(Options{
				SignIn:   func(context.Context) error { return nil },
				Registry: func(repo image.Repository) Registry { return known[repo.Registry] },
				Manifest: func(_ context.Context, ref image.Reference) (image.Manifest, error) {
					n := 60
					if strings.Contains(ref.Path, "long") {
						n = 20
					}
					return index(n), nil
				},
			})
			source, target := parse(t, tt.source), parse(t, tt.target)
			offered := index(2).Descriptor
			if strings.Contains(source.Path, "many") || strings.Contains(source.Path, "long") {
				offered.Size = 30_000
			}
			order := mirror.Order{Engine: "auto", Offered: offered}
			order.Source, order.Target, order.Digest = source.WithDigest(offered.Digest), target, offered.Digest
			if tt.edit != nil {
				tt.edit(&order)
			}
			fits, why := e.Fits(t.Context(), order)
			if fits != tt.fits || !strings.Contains(why, tt.why) || tt.why == "" && why != "" {
				t.Errorf("%v, %q; want %v, %q", fits, why, tt.fits, tt.why)
			}
		})
	}
}

// TestFitsWithoutSignIn does not fit where Azure cannot be signed in to, and says so.
func TestFitsWithoutSignIn(t *testing.T) {
	e := New(Options{
		SignIn:   func(context.Context) error { return errors.New("no credential") },
		Registry: func(repo image.Repository) Registry { return Registry{Azure: repo.Registry == "ours.azurecr.io"} },
	})
	order := mirror.Order{Engine: "auto"}
	order.Source, order.Target = parse(t, "docker.io/library/a:1"), parse(t, "ours.azurecr.io/a:1")
	if fits, why := e.Fits(t.Context(), order); fits || !strings.Contains(why, "no credential") {
		t.Errorf("%v %q", fits, why)
	}
}

func parse(t *testing.T, s string) image.Reference {
	t.Helper()
	ref, err := image.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// index has so many manifests.
func index(n int) image.Manifest {
	entry := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"sha256:` + strings.Repeat("a", 64) + `"}`
	raw := []byte(`{"manifests":[` + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + `]}`)
	d := image.Descriptor{MediaType: image.MediaTypeOCIIndex, Digest: image.DigestOf(raw, ""), Size: int64(len(raw))}
	return image.Manifest{Descriptor: d, Raw: raw}
}
