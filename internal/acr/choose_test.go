package acr

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/draysync/dray/internal/image"
	"github.com/draysync/dray/internal/mirror"
)

// named is an engine that makes nothing.
type named struct{ mirror.Importer }

func (named) Name() string { return "copy" }

func (named) Resolve(_ context.Context, _ image.Reference, offered image.Descriptor, _ []image.Platform) (image.Digest, error) {
	return offered.Digest, nil
}

// TestChoose has thirty mappings choose their engine, with the first reason that speaks against acr.
func TestChoose(t *testing.T) {
	known := map[string]Registry{
		"ours.azurecr.io": {Azure: true}, "theirs.azurecr.io": {Azure: true}, "plain.example.com": {Plain: true},
		"own.example.com": {Private: true}, "login.example.com": {Stored: true}, "given.example.com": {Stored: true, Signed: true},
		"ghcr.io": {Signed: true},
	}
	amd64 := []image.Platform{{OS: "linux", Architecture: "amd64"}}
	for _, tt := range []struct {
		source, target string
		edit           func(*mirror.Order)
		engine, why    string
	}{
		{"docker.io/library/a:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"docker.io/team/a:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"mcr.microsoft.com/a:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"quay.io/a/b:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"ghcr.io/a/b:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"theirs.azurecr.io/a:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"other.azurecr.io/a:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"registry.example.com:5000/a:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"given.example.com/a:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"ours.azurecr.io/b:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"203.0.113.9/a:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"docker.io/library/a:1", "ours.azurecr.io/a:1", func(o *mirror.Order) { o.Engine = "acr" }, "acr", "mapping says"},
		{"docker.io/library/a:1", "ours.azurecr.io/a:1", func(o *mirror.Order) { o.Engine = "copy" }, "copy", "mapping says"},
		{"docker.io/library/a:1", "ghcr.io/a/a:1", nil, "copy", ""},
		{"docker.io/library/a:1", "unknown.azurecr.io/a:1", nil, "copy", ""},
		{"docker.io/library/a:1", "ocidir:///srv/a:1", nil, "copy", ""},
		{"ours.azurecr.io/a:1", "ghcr.io/a/a:1", nil, "copy", ""},
		{"docker.io/library/a:1", "ours.azurecr.io/a:1", func(o *mirror.Order) { o.Platforms = amd64 }, "copy", "platforms"},
		{"docker.io/library/a:1", "ours.azurecr.io/a:1", func(o *mirror.Order) { o.ForeignLayers = true }, "copy", "layers by URLs"},
		{"ocidir:///srv/a:1", "ours.azurecr.io/a:1", nil, "copy", "folder"},
		{"plain.example.com/a:1", "ours.azurecr.io/a:1", nil, "copy", "without TLS"},
		{"own.example.com/a:1", "ours.azurecr.io/a:1", nil, "copy", "certificate"},
		{"localhost:5000/a:1", "ours.azurecr.io/a:1", nil, "copy", "no public host"},
		{"127.0.0.1:5000/a:1", "ours.azurecr.io/a:1", nil, "copy", "no public host"},
		{"10.1.2.3:5000/a:1", "ours.azurecr.io/a:1", nil, "copy", "no public host"},
		{"harbor.corp.internal/a/b:1", "ours.azurecr.io/a:1", nil, "copy", "no public host"},
		{"login.example.com/a:1", "ours.azurecr.io/a:1", nil, "copy", "credential store"},
		{"docker.io/library/many:1", "ours.azurecr.io/a:1", nil, "copy", "61 manifests"},
		{"docker.io/library/long:1", "ours.azurecr.io/a:1", nil, "acr", "by itself"},
		{"localhost:5000/a:1", "ours.azurecr.io/a:1", func(o *mirror.Order) { o.Engine = "acr" }, "acr", "engine-unfit"},
	} {
		t.Run(tt.source+" "+tt.target, func(t *testing.T) {
			c := &Chooser{
				Importer: named{}, ACR: New(Options{}), SignIn: func(context.Context) error { return nil },
				Registry: func(repo image.Repository) Registry { return known[repo.Registry] },
				Manifest: func(_ context.Context, ref image.Reference) (image.Manifest, error) {
					n := 60
					if strings.Contains(ref.Path, "long") {
						n = 20
					}
					return index(n), nil
				},
			}
			source, target := parse(t, tt.source), parse(t, tt.target)
			offered := index(2).Descriptor
			if strings.Contains(source.Path, "many") || strings.Contains(source.Path, "long") {
				offered.Size = 30_000
			}
			if _, err := c.Resolve(t.Context(), source, offered, nil); err != nil {
				t.Fatal(err)
			}
			order := mirror.Order{Engine: "auto"}
			order.Source, order.Target, order.Digest = source.WithDigest(offered.Digest), target, offered.Digest
			if tt.edit != nil {
				tt.edit(&order)
			}
			got := c.Choose(t.Context(), order)
			why := got.Reason
			if _, err := refusal(got); err != nil {
				refused, _ := errors.AsType[*mirror.RefusedError](err)
				why = string(refused.Reason) + " " + refused.Detail
			}
			if got.Name() != tt.engine || !strings.Contains(why, tt.why) || tt.why == "" && why != "" {
				t.Errorf("%s, %q; want %s, %q", got.Name(), why, tt.engine, tt.why)
			}
		})
	}
}

// refusal asks an engine that can only refuse.
func refusal(c mirror.Choice) (mirror.Cost, error) {
	if r, ok := c.Importer.(refusing); ok {
		return r.Measure(context.Background(), mirror.Order{})
	}
	return mirror.Cost{}, nil
}

// TestChooseWithoutSignIn copies where Azure cannot be signed in to, and says so.
func TestChooseWithoutSignIn(t *testing.T) {
	c := &Chooser{
		Importer: named{}, ACR: New(Options{}), SignIn: func(context.Context) error { return errors.New("no credential") },
		Registry: func(repo image.Repository) Registry { return Registry{Azure: repo.Registry == "ours.azurecr.io"} },
	}
	order := mirror.Order{Engine: "auto"}
	order.Source, order.Target = parse(t, "docker.io/library/a:1"), parse(t, "ours.azurecr.io/a:1")
	if got := c.Choose(t.Context(), order); got.Name() != "copy" || !strings.Contains(got.Reason, "no credential") {
		t.Errorf("%s %q", got.Name(), got.Reason)
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
